"""What holds for every schema and every value."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.customresources.judging import definition

from sampan.api import registry, schema
from sampan.api.customresources import compile_version, defaulting, listtypes, parts, validate_definition, values

KIND = next(kind for kind in registry.registry().kinds() if kind.kind == "CustomResourceDefinition")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0, -1.5]) | st.text("ab1", max_size=3)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean"]))
    made: dict[str, Any] = {"type": kind}
    if kind == "string":
        made |= draw(st.fixed_dictionaries({}, optional={
            "minLength": st.integers(0, 2), "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^a", "b+", "1$"]),
        }))  # fmt: skip
    elif kind != "boolean":
        made |= draw(st.fixed_dictionaries({}, optional={
            "minimum": st.integers(-2, 0), "maximum": st.integers(0, 2), "multipleOf": st.sampled_from([1, 2]),
        }))  # fmt: skip
    if draw(st.booleans()) and kind in ("string", "integer"):
        made["enum"] = draw(
            st.lists(st.integers(-2, 2) if kind == "integer" else st.text("ab", max_size=2), min_size=1, max_size=3)
        )
    return made


@st.composite
def branches(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["array", "map", "object"]))
    if kind == "array":
        made: dict[str, Any] = {"type": "array", "items": draw(inner)}
        made |= draw(st.fixed_dictionaries({}, optional={"minItems": st.integers(0, 2), "maxItems": st.integers(0, 3)}))
        return made
    if kind == "map":
        made = {"type": "object", "additionalProperties": draw(inner)}
    else:
        properties = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
        made = {"type": "object", "properties": properties}
        made["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True, max_size=2))
        if draw(st.booleans()):
            junctor = draw(st.sampled_from(["anyOf", "oneOf", "allOf"]))
            made[junctor] = [
                {"required": [name]} for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
            ]
    made |= draw(
        st.fixed_dictionaries({}, optional={"minProperties": st.integers(0, 1), "maxProperties": st.integers(1, 3)})
    )
    return made


@st.composite
def nullable(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    made = draw(inner)
    return {**made, "nullable": True} if draw(st.integers(0, 3)) == 0 else made


SCHEMAS = st.recursive(nullable(leaves()), lambda inner: nullable(branches(inner)), max_leaves=8)


def in_json_schema(part: dict[str, Any]) -> dict[str, Any]:
    """The same schema for the library: where null may stand, nothing else is asked of it."""
    made = {key: value for key, value in part.items() if key != "nullable"}
    if "properties" in made:
        made["properties"] = {name: in_json_schema(below) for name, below in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = in_json_schema(made[key])
    return {"anyOf": [{"type": "null"}, made]} if part.get("nullable") else made


def accepts(part: dict[str, Any], value: Any) -> bool:
    return values.validate(parts.root_of(part), value) == []


@QUICK
@given(SCHEMAS, JSON)
def test_validation_agrees_with_an_independent_one(part: dict[str, Any], value: Any) -> None:
    if _has_null(value) and "enum" in str(part):
        return  # upstream's enums do not take the null of a nullable field
    expected = jsonschema.Draft7Validator(in_json_schema(part)).is_valid(value)
    assert accepts(part, value) is expected, (part, value)


def _has_null(value: Any) -> bool:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, below))


@QUICK
@given(SCHEMAS, JSON, JSON)
def test_an_update_is_never_judged_more_strictly_than_a_creation_and_nothing_is_excused_that_changed(
    part: dict[str, Any], new: Any, old: Any
) -> None:
    root = parts.root_of(part)
    created = {fault.message() for fault in values.validate(root, new)}
    assert values.validate(root, new, deepcopy(new)) == []
    assert {fault.message() for fault in values.validate(root, new, old)} <= created


@st.composite
def with_defaults(draw: st.DrawFn) -> dict[str, Any]:
    made = draw(SCHEMAS)

    def fill(part: dict[str, Any]) -> None:
        if draw(st.booleans()):
            part["default"] = draw(JSON.filter(lambda value: value is not None))
        for below in [*part.get("properties", {}).values(), part.get("items"), part.get("additionalProperties")]:
            if isinstance(below, dict):
                fill(below)

    fill(made)
    return {"type": "object", "properties": {"f": made}}


@QUICK
@given(with_defaults(), JSON)
def test_defaults_and_pruning_are_settled_after_one_turn(part: dict[str, Any], value: Any) -> None:
    node, root = schema.node_from_openapi(part, root=True), parts.root_of(part)
    obj: Any = {"f": value, "g": 1}

    def turn() -> None:
        schema.normalise(node, obj)
        defaulting.apply(root, obj)
        schema.normalise(node, obj)

    turn()
    settled = deepcopy(obj)
    assert "g" not in obj
    defaulting.apply(root, obj)
    assert obj == settled or _fills_what_pruning_emptied(part)
    schema.normalise(node, settled)
    assert schema.unknown_fields(node, settled) == []


def _fills_what_pruning_emptied(part: dict[str, Any]) -> bool:
    """A default that is not of its own schema (which no definition may have) is pruned and filled for ever."""
    return any(fault.reason for fault in validate_definition(_created(definition(part))))


def _created(given_: dict[str, Any]) -> dict[str, Any]:
    KIND.default(given_)
    KIND.prepare_create(given_)
    return given_


# --- anything at all

KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "integer", "object", "array", "null", "odd", ""]),
    "format": st.sampled_from(["date", "int32", "odd"]),
    "pattern": st.sampled_from(["^a", "(", "(a*)*b", "a{1000}", "[", "\\"]),
    "nullable": st.booleans(),
    "default": JSON,
    "enum": st.lists(JSON, max_size=3),
    "minimum": st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False),
    "maximum": st.floats(allow_nan=False, allow_infinity=False),
    "exclusiveMaximum": st.booleans(),
    "multipleOf": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-2, 2),
    "maxLength": st.integers(-5, 2**63 - 1),
    "minItems": st.integers(-5, 2**63 - 1),
    "maxProperties": st.integers(-5, 5),
    "required": st.lists(NAMES, max_size=3),
    "uniqueItems": st.booleans(),
    "x-kubernetes-int-or-string": st.booleans(),
    "x-kubernetes-embedded-resource": st.booleans(),
    "x-kubernetes-preserve-unknown-fields": st.booleans(),
    "x-kubernetes-list-type": st.sampled_from(["set", "map", "atomic", "odd"]),
    "x-kubernetes-list-map-keys": st.lists(NAMES, max_size=2),
    "x-kubernetes-map-type": st.sampled_from(["atomic", "odd"]),
    "x-kubernetes-validations": st.lists(
        st.fixed_dictionaries(
            {"rule": st.sampled_from(["self", "true", "self == oldSelf", "self.a", "((", "has(self.a) && self.a > 1"])},
            optional={
                "message": st.text(max_size=3),
                "messageExpression": st.sampled_from(["'a'", "self", "1"]),
                "reason": st.sampled_from(["FieldValueInvalid", "Odd"]),
                "fieldPath": st.sampled_from([".a", "a", ".a['b']", "[", ""]),
                "optionalOldSelf": st.booleans(),
            },
        ),
        max_size=2,
    ),
    "$ref": st.just("#/definitions/a"),
    "description": st.text(max_size=5),
}  # fmt: skip


def wild(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    below = {
        "properties": st.dictionaries(NAMES | st.sampled_from(["metadata", "kind", "a-b"]), inner, max_size=3),
        "items": inner | st.lists(inner, max_size=1),
        "additionalProperties": inner | st.booleans(),
        "not": inner,
        "anyOf": st.lists(inner, max_size=2),
        "allOf": st.lists(inner, max_size=2),
        "oneOf": st.lists(inner, max_size=2),
        "definitions": st.dictionaries(NAMES, inner, max_size=1),
    }
    return st.fixed_dictionaries({}, optional={**KEYWORDS, **below}) | st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=2)}
    )


WILD = st.recursive(st.fixed_dictionaries({}, optional=KEYWORDS), wild, max_leaves=6)


@QUICK
@given(WILD, WILD, st.lists(JSON, min_size=1, max_size=4))
def test_no_schema_and_no_value_raises_anything(
    root: dict[str, Any], before: dict[str, Any], given_: list[Any]
) -> None:
    """A definition is judged, whatever it says; and should it get into the store, its objects are."""
    made = definition(root, subresources={"scale": {"specReplicasPath": ".spec.a", "statusReplicasPath": ".a"}})
    if schema.decode(KIND.node, made).error is not None:
        return
    found = validate_definition(_created(made))
    assert all(isinstance(fault.message(), str) for fault in found)
    changed = {fault.message() for fault in validate_definition(made, _created(definition(before)))}
    assert {text for text in changed if "openAPIV3Schema" in text} <= {fault.message() for fault in found}
    compiled = compile_version(made, "v1")
    for value in given_:
        obj = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {}, "spec": deepcopy(value), "a": value}
        with contextlib.suppress(schema.nodes.DecodeError):
            schema.decode(compiled.node, obj)
        compiled.default(obj)
        compiled.validate(obj)
        compiled.validate_update(obj, {**obj, "spec": given_[0]})
        compiled.validate_status({**obj, "status": value}, obj)
        listtypes.validate(compiled.root, obj)


@pytest.mark.parametrize("depth", [30, 110])
def test_deep_schemas_are_judged_and_deep_values_held_to_them(depth: int) -> None:
    part: dict[str, Any] = {"type": "object", "properties": {"leaf": {"type": "integer"}}}
    value: Any = {"leaf": "x"}
    for _ in range(depth):
        part = {"type": "object", "properties": {"a": part}}
        value = {"a": value}
    made = definition(part)
    assert schema.decode(KIND.node, made).error is None
    assert validate_definition(_created(made)) == []
    compiled = compile_version(made, "v1")
    obj = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {}, **value}
    schema.decode(compiled.node, obj)
    (fault,) = compiled.validate(obj)
    assert fault.field == "a." * depth + "leaf"
