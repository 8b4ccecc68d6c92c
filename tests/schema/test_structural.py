"""Nodes of custom resources: pruning, nullability, what is left to validation."""

import pytest

from sampan.api import schema

CRD = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 3},
                "note": {"type": "string", "nullable": True},
                "port": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "any": {"x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "object", "additionalProperties": {"type": "string", "default": "none"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "items": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"default": 1}}},
                },
                "template": {"type": "object", "x-kubernetes-embedded-resource": True},
            },
        }
    },
}


@pytest.fixture
def node():
    return schema.node_from_openapi(CRD, type_name="Widget", root=True)


def test_metadata_is_there_without_being_declared(node):
    decoded = schema.decode(node, {"apiVersion": "x/v1", "kind": "Widget", "metadata": {"name": "a", "bad": 1}})
    assert decoded.unknown == ["metadata.bad"]
    assert decoded.value["metadata"] == {"name": "a"}


def test_unknown_fields_are_pruned_except_where_preserved(node):
    obj = {"x": 1, "spec": {"y": 1, "free": {"z": {"deep": None}}, "any": [None], "template": {"metadata": {}, "q": 1}}}
    schema.normalise(node, obj)
    assert obj == {"spec": {"free": {"z": {"deep": None}}, "any": [None], "template": {"metadata": {}}}}


def test_null_stays_only_where_it_may_be(node):
    obj = {"spec": {"note": None, "size": None}}
    schema.normalise(node, obj)
    assert obj == {"spec": {"note": None}}


def test_a_null_in_a_map_goes_and_one_in_a_list_stays_for_validation_to_tell(node):
    obj = {"spec": {"any": [None], "labels": {"a": None, "b": "c"}, "items": [None]}}
    schema.normalise(node, obj)
    assert obj == {"spec": {"any": [None], "labels": {"b": "c"}, "items": [None]}}


def test_a_null_with_a_default_stays_for_the_default(node):
    obj = {"spec": {"tags": {"a": None}}}
    schema.normalise(node, obj)
    assert obj == {"spec": {"tags": {"a": None}}}


def test_wrong_types_are_left_for_validation_to_tell(node):
    obj = {"metadata": {}, "spec": {"size": "x", "items": "y", "tags": [1], "note": {"unknown": 1}}}
    decoded = schema.decode(node, obj)
    assert decoded.error is None
    assert decoded.unknown == ["spec.note.unknown"]
    assert obj["spec"] == {"size": "x", "items": "y", "tags": [1], "note": {}}


def test_metadata_of_a_wrong_type_cannot_be_decoded(node):
    assert "cannot unmarshal" in (schema.check(node, {"metadata": {"labels": "x"}}) or "")


def test_a_whole_number_is_written_without_a_point(node):
    obj = {"spec": {"size": 3.0}}
    schema.normalise(node, obj)
    assert repr(obj["spec"]["size"]) == "3"


def test_what_a_list_preserves_is_preserved_in_its_elements():
    node = schema.node_from_openapi(
        {
            "type": "object",
            "properties": {
                "kept": {
                    "type": "array",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "items": {"type": "object", "properties": {"a": {"type": "object"}}},
                }
            },
        },
        root=True,
    )
    obj = {"kept": [{"b": 1, "a": {"c": 1}}]}
    assert schema.decode(node, obj).unknown == ["kept[0].a.c"]
    assert obj == {"kept": [{"b": 1, "a": {}}]}


def test_nothing_of_the_given_schema_is_kept():
    given = {"type": "object", "properties": {"a": {"type": "string"}}}
    node = schema.node_from_openapi(given, root=True)
    given["properties"]["b"] = {"type": "string"}
    assert schema.unknown_fields(node, {"b": ""}) == ["b"]
