"""Nodes of custom resources: pruning, nullability, defaults."""

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


def test_a_null_element_is_wrong_where_it_may_not_be(node):
    assert schema.check(node, {"spec": {"any": [None], "tags": {"a": None}}}) == (
        "json: cannot unmarshal null into Go struct field .spec.tags of type string"
    )


def test_defaults_fill_what_is_missing_at_every_level(node):
    obj = {"spec": {"items": [{"name": "a"}, {"name": "b", "n": 2}], "tags": {"a": None}}}
    schema.apply_defaults(node, obj)
    assert obj == {"spec": {"size": 3, "items": [{"name": "a", "n": 1}, {"name": "b", "n": 2}], "tags": {"a": "none"}}}


def test_a_default_is_not_made_where_its_parent_is_missing(node):
    obj = {}
    schema.apply_defaults(node, obj)
    assert obj == {}


def test_wrong_types_are_told(node):
    error = schema.check(node, {"metadata": {}, "spec": {"size": "x"}})
    assert error is not None
    assert error.startswith("json: cannot unmarshal string into Go struct field .spec.size of type int64")


def test_list_keys_are_kept(node):
    items = node.fields["spec"].node.fields["items"].node
    assert (items.list_type, items.list_keys) == ("map", ("name",))
