"""Custom resources are held to their schema over HTTP: field validation, defaults, values, rules, ratcheting."""

from __future__ import annotations

import json
from typing import Any

import pytest

BOATS = "/apis/example.com/v1/namespaces/default/boats"
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "masts": {"type": "integer", "maximum": 5, "default": 1},
        "colour": {"type": "string", "enum": ["red", "green"]},
        "crew": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
        "template": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
    "x-kubernetes-validations": [
        {"rule": "!has(oldSelf.colour) || self.colour == oldSelf.colour", "message": "colour is immutable"},
        {"rule": "!has(self.crew) || self.crew.size() >= self.masts", "message": "a mast needs somebody"},
    ],
}


@pytest.fixture
async def boats(sea: Any, crd: Any, crd_version: Any) -> Any:
    schema = {"type": "object", "properties": {"spec": SPEC}}
    await sea.define(crd("boats", crd_version(schema={"openAPIV3Schema": schema})))
    return sea


def boat(name: str = "a", metadata: Any = None, **spec: Any) -> Any:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Boat",
        "metadata": {"name": name, **(metadata or {})},
        "spec": spec,
    }


async def test_a_valid_object_is_taken_and_filled(boats: Any) -> None:
    """FieldValidation should create/apply a valid CR for CRD with validation schema; Custom Resource Definition,
    defaulting."""
    made = await boats("POST", f"{BOATS}?fieldValidation=Strict", boat(colour="red", crew=[{"name": "x"}]))
    assert made.status == 201, made.obj
    assert made.obj["spec"] == {"colour": "red", "crew": [{"name": "x"}], "masts": 1}


async def test_an_object_with_unknown_fields_is_refused_or_warned_of(boats: Any) -> None:
    """Server side field validation, unknown fields CR fails validation."""
    odd = boat(extra=1, crew=[{"name": "x", "rank": 1}], free={"anything": {"goes": 1}})
    refused = await boats("POST", f"{BOATS}?fieldValidation=Strict", odd)
    assert (refused.status, refused.obj["reason"]) == (400, "BadRequest")
    assert (
        'strict decoding error: unknown field "spec.extra", unknown field "spec.crew[0].rank"' in refused.obj["message"]
    )
    made = await boats("POST", f"{BOATS}?fieldValidation=Warn", odd)
    assert made.status == 201
    assert made.obj["spec"] == {"crew": [{"name": "x"}], "free": {"anything": {"goes": 1}}, "masts": 1}
    assert made.warnings == ['unknown field "spec.extra"', 'unknown field "spec.crew[0].rank"']


async def test_without_a_schema_of_its_fields_everything_is_kept(sea: Any, crd: Any, crd_version: Any) -> None:
    """FieldValidation should create/apply a CR with unknown fields for CRD with no validation schema"""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await sea.define(crd("boats", crd_version(schema={"openAPIV3Schema": schema})))
    made = await sea("POST", f"{BOATS}?fieldValidation=Strict", boat(anything={"goes": [None]}))
    assert made.status == 201, made.obj
    assert made.obj["spec"] == {"anything": {"goes": [None]}}


async def test_duplicate_fields_are_refused_even_where_unknown_ones_are_kept(
    sea: Any, crd: Any, crd_version: Any
) -> None:
    """FieldValidation should detect duplicates in a CR when preserving unknown fields"""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await sea.define(crd("boats", crd_version(schema={"openAPIV3Schema": schema})))
    text = json.dumps(boat(x=1)).replace('"x": 1', '"x": 1, "x": 2')
    refused = await sea("POST", f"{BOATS}?fieldValidation=Strict", text.encode())
    assert refused.status == 400
    assert 'strict decoding error: duplicate field "spec.x"' in refused.obj["message"]


async def test_unknown_metadata_is_refused_at_the_root_and_in_embedded_objects(boats: Any) -> None:
    """FieldValidation should detect unknown metadata fields in both the root and embedded object of a CR"""
    template = {"apiVersion": "v1", "kind": "Pod", "metadata": {"odd": 1}, "spec": {"a": "b"}}
    refused = await boats("POST", f"{BOATS}?fieldValidation=Strict", boat(metadata={"strange": 1}, template=template))
    assert refused.status == 400
    assert 'unknown field "metadata.strange"' in refused.obj["message"]
    assert 'unknown field "spec.template.metadata.odd"' in refused.obj["message"]


@pytest.mark.parametrize(
    ("spec", "message", "reason"),
    [
        (
            {"masts": "three"},
            '[spec.masts: Invalid value: "string": spec.masts in body must be of type integer: "string", '
            '<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; '
            "correct the existing errors to complete validation]",
            "FieldValueTypeInvalid",
        ),
        (
            {"masts": 6},
            "spec.masts: Invalid value: 6: spec.masts in body should be less than or equal to 5",
            "FieldValueInvalid",
        ),
        (
            {"masts": 2, "crew": [{"name": "x"}]},
            'spec: Invalid value: "object": a mast needs somebody',
            "FieldValueInvalid",
        ),
        (
            {"crew": [{"name": "x"}, {"name": "x"}]},
            'spec.crew[1]: Duplicate value: {"name":"x"}',
            "FieldValueDuplicate",
        ),
        ({"template": {"kind": "Pod"}}, "[spec.template.apiVersion: Required value, <nil>: ", "FieldValueRequired"),
    ],
)  # fmt: skip
async def test_a_wrong_value_is_422_with_upstreams_cause(boats: Any, spec: Any, message: str, reason: str) -> None:
    refused = await boats("POST", BOATS, boat(**spec))
    assert (refused.status, refused.obj["reason"]) == (422, "Invalid")
    assert refused.obj["message"].startswith(f'Boat.example.com "a" is invalid: {message}'.removesuffix("]"))
    assert refused.obj["details"]["causes"][0]["reason"] == reason


async def test_a_transition_rule_holds_for_updates(boats: Any) -> None:
    made = (await boats("POST", BOATS, boat(colour="red"))).obj
    made["spec"]["colour"] = "green"
    refused = await boats("PUT", f"{BOATS}/a", made)
    assert refused.status == 422
    assert "colour is immutable" in refused.obj["message"]


async def test_what_became_wrong_with_the_schema_does_not_stand_in_the_way_of_other_changes(
    boats: Any, crd: Any, crd_version: Any
) -> None:
    made = (await boats("POST", BOATS, boat(masts=5))).obj
    stricter = {**SPEC, "properties": {**SPEC["properties"], "masts": {"type": "integer", "maximum": 2}}}
    schema = {"type": "object", "properties": {"spec": stricter}}
    await boats.change("boats.example.com", {"spec": {"versions": [crd_version(schema={"openAPIV3Schema": schema})]}})

    async def is_stricter() -> bool:
        return bool((await boats("POST", f"{BOATS}?dryRun=All", boat("b", masts=4))).status == 422)

    await boats.eventually(is_stricter)
    made["metadata"]["labels"] = {"a": "b"}
    kept = await boats("PUT", f"{BOATS}/a", made)
    assert kept.status == 200, kept.obj
    kept.obj["spec"]["masts"] = 4
    refused = await boats("PUT", f"{BOATS}/a", kept.obj)
    assert refused.status == 422


async def test_a_definition_that_is_wrong_is_refused_in_upstreams_words(sea: Any, crd: Any, crd_version: Any) -> None:
    schema = {"type": "object", "properties": {"spec": {}}}
    refused = await sea(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        crd("boats", crd_version(schema={"openAPIV3Schema": schema})),
    )
    assert refused.status == 422
    assert refused.obj["message"] == (
        'CustomResourceDefinition.apiextensions.k8s.io "boats.example.com" is invalid: '
        "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object "
        "fields"
    )


@pytest.mark.parametrize(("before", "after"), [(1, True), (False, 0), (0.0, False)])
async def test_a_value_of_another_type_is_another_value(boats: Any, before: Any, after: Any) -> None:
    """Python says that ``1 == True``: JSON does not."""
    made = await boats("POST", BOATS, boat(masts=0, free={"below": [{"on": before}]}))
    assert made.status == 201, made.obj
    made.obj["spec"]["free"]["below"][0]["on"] = after
    changed = await boats("PUT", f"{BOATS}/a?fieldManager=other", made.obj)
    assert changed.status == 200, changed.obj
    found = await boats("GET", f"{BOATS}/a")
    on = found.obj["spec"]["free"]["below"][0]["on"]
    assert (on, type(on)) == (after, type(after))
    assert found.obj["metadata"]["generation"] == 2
    assert "other" in [entry["manager"] for entry in found.obj["metadata"]["managedFields"]]
