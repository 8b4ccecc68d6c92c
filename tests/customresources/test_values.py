"""Faults of custom resources' values: reasons, places and words of upstream."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.customresources import parts, values

INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def told(schema: dict[str, Any], value: Any, old: Any = values.ABSENT) -> list[str]:
    """Of a field called ``f`` with this schema: ``reason field: message`` each."""
    root = parts.root_of({"type": "object", "properties": {"f": schema}})
    before = old if old is values.ABSENT else {"f": old}
    return [f"{e.reason} {e.message()}" for e in values.validate(root, {"f": value}, before)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "x"),
        ({"type": "integer"}, 3),
        ({"type": "integer"}, 3.0),
        ({"type": "integer"}, 2**63 - 1),
        ({"type": "number"}, 2**64 - 1),
        ({"type": "number"}, 1e300),
        ({"type": "number"}, 3),
        ({"type": "number"}, 3.5),
        ({"type": "boolean"}, False),
        ({"type": "object"}, {"any": 1}),
        ({"type": "array", "items": {"type": "string"}}, ["a", "b"]),
        ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-preserve-unknown-fields": True}, {"a": [None, 1]}),
        ({"x-kubernetes-int-or-string": True}, 2**40),
        ({"x-kubernetes-int-or-string": True, "anyOf": INT_OR_STRING}, "50%"),
        ({"type": "string", "enum": ["a", "b"]}, "b"),
        ({"type": "integer", "enum": [1, 2]}, 2.0),
        ({"type": "string", "maxLength": 3, "minLength": 3}, "äöü"),
        ({"type": "string", "pattern": "b+"}, "abbc"),
        ({"type": "string", "format": "of-our-own"}, "anything"),
        ({"type": "integer", "format": "int32"}, 2**40),
        ({"type": "integer", "maximum": 3, "minimum": 3}, 3),
        ({"type": "number", "multipleOf": 0.1}, 0.3),
        ({"type": "array", "minItems": 1, "maxItems": 1}, [1]),
        ({"type": "object", "minProperties": 1, "maxProperties": 1}, {"a": 1}),
        ({"type": "object", "required": ["a"]}, {"a": None}),
        ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}),
        ({"type": "object", "not": {"required": ["a"]}}, {"b": 1}),
        ({"type": "integer", "allOf": [{"minimum": 1}, {"maximum": 3}]}, 2),
    ],
)
def test_a_value_that_fits_has_no_faults(schema: dict[str, Any], value: Any) -> None:
    assert told(schema, value) == []


TYPE = "FieldValueTypeInvalid f: Invalid value: "
INVALID = "FieldValueInvalid f: Invalid value: "


@pytest.mark.parametrize(
    ("schema", "value", "faults"),
    [
        ({"type": "object"}, "foo", [TYPE + '"string": f in body must be of type object: "string"']),
        ({"type": "object"}, 42, [TYPE + '"integer": f in body must be of type object: "integer"']),
        ({"type": "object"}, True, [TYPE + '"boolean": f in body must be of type object: "boolean"']),
        ({"type": "object"}, 1.2, [TYPE + '"number": f in body must be of type object: "number"']),
        ({"type": "object"}, [], [TYPE + '"array": f in body must be of type object: "array"']),
        ({"type": "object"}, None, [TYPE + '"null": f in body must be of type object: "null"']),
        ({"type": "integer"}, 2**63, [TYPE + '"number": f in body must be of type integer: "number"']),
        ({"type": "integer"}, 1e300, [TYPE + '"number": f in body must be of type integer: "number"']),
        ({"type": "integer"}, 1.5, [TYPE + '"number": f in body must be of type integer: "number"']),
        ({"type": "integer"}, True, [TYPE + '"boolean": f in body must be of type integer: "boolean"']),
        (
            {"x-kubernetes-int-or-string": True},
            1.2,
            [TYPE + '"number": f in body must be of type integer,string: "number"'],
        ),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": INT_OR_STRING},
            True,
            [
                TYPE + '"boolean": f in body must be of type integer,string: "boolean"',
                'FieldValueInvalid <nil>: Invalid value: "": "f" must validate at least one schema (anyOf)',
                TYPE + '"boolean": f in body must be of type integer: "boolean"',
            ],
        ),
        (
            {"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": INT_OR_STRING}]},
            True,
            [
                TYPE + '"boolean": f in body must be of type integer,string: "boolean"',
                'FieldValueInvalid <nil>: Invalid value: "": "f" must validate at least one schema (anyOf)',
                TYPE + '"boolean": f in body must be of type integer: "boolean"',
                'FieldValueInvalid <nil>: Invalid value: "": "f" must validate all the schemas (allOf). None validated',
            ],
        ),
        ({"type": "integer", "format": "int32"}, 1.5, [TYPE + '"float64": f in body must be of type int32: "float64"']),
        (
            {"type": "integer", "enum": [1, 2]},
            "x",
            [
                TYPE + '"string": f in body must be of type integer: "string"',
                'FieldValueNotSupported f: Unsupported value: "x": supported values: "1", "2"',
            ],
        ),
        (
            {"type": "string", "enum": ["a", "b"]},
            True,
            [
                TYPE + '"boolean": f in body must be of type string: "boolean"',
                'FieldValueNotSupported f: Unsupported value: true: supported values: "a", "b"',
            ],
        ),
        (
            {"type": "integer", "enum": [1]},
            True,
            [
                TYPE + '"boolean": f in body must be of type integer: "boolean"',
                'FieldValueNotSupported f: Unsupported value: true: supported values: "1"',
            ],
        ),
        ({"type": "string", "maxLength": 2}, "abc", ["FieldValueTooLong f: Too long: may not be more than 2 bytes"]),
        ({"type": "string", "minLength": 2}, "a", [INVALID + '"a": f in body should be at least 2 chars long']),
        ({"type": "string", "pattern": "^a$"}, "b", [INVALID + "\"b\": f in body should match '^a$'"]),
        ({"type": "string", "format": "ipv4"}, "x", [TYPE + '"x": f in body must be of type ipv4: "x"']),
        ({"type": "integer", "maximum": 3}, 4, [INVALID + "4: f in body should be less than or equal to 3"]),
        (
            {"type": "number", "maximum": 3, "exclusiveMaximum": True},
            3,
            [INVALID + "3: f in body should be less than 3"],
        ),
        (
            {"type": "number", "minimum": 0.5},
            0.25,
            [INVALID + "0.25: f in body should be greater than or equal to 0.5"],
        ),
        (
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
            1,
            [INVALID + "1: f in body should be greater than 1"],
        ),
        ({"type": "integer", "multipleOf": 5}, 7, [INVALID + "7: f in body should be a multiple of 5"]),
        ({"type": "array", "minItems": 2}, [1], [INVALID + "1: f in body should have at least 2 items"]),
        ({"type": "array", "maxItems": 1}, [1, 2], ["FieldValueTooMany f: Too many: 2: must have at most 1 item"]),
        ({"type": "object", "minProperties": 1}, {}, [INVALID + "0: f in body should have at least 1 properties"]),
        (
            {"type": "object", "maxProperties": 0},
            {"a": 1},
            ["FieldValueTooMany f: Too many: 1: must have at most 0 items"],
        ),
        ({"type": "object", "required": ["a", "b"]}, {"b": 1}, ["FieldValueRequired f.a: Required value"]),
        (
            {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "integer"}}},
            [{}, {"k": "v"}],
            ['FieldValueTypeInvalid f[1].k: Invalid value: "string": f[1].k in body must be of type integer: "string"'],
        ),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": 1, "b": 1},
            [
                'FieldValueInvalid <nil>: Invalid value: "": "f" must validate one and only one schema (oneOf). '
                "Found 2 valid alternatives"
            ],
        ),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {},
            [
                'FieldValueInvalid <nil>: Invalid value: "": "f" must validate one and only one schema (oneOf). '
                "Found none valid",
                "FieldValueRequired f.a: Required value",
            ],
        ),
        (
            {"type": "object", "not": {"required": ["a"]}},
            {"a": 1},
            ['FieldValueInvalid <nil>: Invalid value: "": "f" must not validate the schema (not)'],
        ),
    ],
)
def test_a_fault_is_told_in_upstreams_words(schema: dict[str, Any], value: Any, faults: list[str]) -> None:
    assert told(schema, value) == faults


NUMBER = {"type": "integer", "maximum": 3}


@pytest.mark.parametrize(
    ("schema", "new", "old"),
    [
        (NUMBER, 5, 5),
        ({"type": "object", "properties": {"a": NUMBER, "b": NUMBER}}, {"a": 5, "b": 1}, {"a": 5, "b": 2}),
        ({"type": "object", "required": ["a"]}, {}, {}),
        ({"type": "array", "items": NUMBER}, [5, 1, 2], [5, 1]),
        ({"type": "object", "additionalProperties": NUMBER}, {"x": 5, "y": 1}, {"x": 5}),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": NUMBER}},
            },
            [{"k": "new", "v": 1}, {"k": "a", "v": 5}],
            [{"k": "a", "v": 5}],
        ),
        (
            {"type": "object", "oneOf": [{"properties": {"a": NUMBER}}], "properties": {"a": {}}},
            {"a": 5, "b": 1},
            {"a": 5},
        ),
    ],
)
def test_what_was_wrong_before_and_has_not_changed_is_tolerated(schema: dict[str, Any], new: Any, old: Any) -> None:
    """Ratcheting (KEP-4008): unchanged invalid parts of a custom resource do not stand in the way of an update."""
    assert told(schema, new)
    assert told(schema, new, old) == []


@pytest.mark.parametrize(
    ("schema", "new", "old"),
    [
        (NUMBER, 6, 5),
        ({"type": "array", "x-kubernetes-list-type": "atomic", "items": NUMBER}, [5, 1], [5]),
        ({"type": "array", "x-kubernetes-list-type": "set", "items": NUMBER}, [5, 1], [5]),
        ({"type": "object", "required": ["a"]}, {"b": 1}, {}),
        ({"type": "integer", "enum": [7]}, 1, True),
        ({"type": "object", "oneOf": [{"required": ["a"]}]}, {"b": 1}, {}),
    ],
)
def test_what_changed_must_be_right(schema: dict[str, Any], new: Any, old: Any) -> None:
    assert told(schema, new, old)


def test_no_more_faults_are_collected_than_help() -> None:
    faults = told({"type": "array", "items": {"type": "string"}}, list(range(100_000)))
    assert 500 < len(faults) < 2000


def test_a_schema_whose_alternatives_multiply_ends_its_own_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_MOST_STEPS", 5000)
    schema: dict[str, Any] = {"type": "object", "anyOf": [{"required": [f"{number}"]} for number in range(100)]}
    many: list[Any] = [{} for _ in range(100)]
    assert told({"type": "array", "items": schema}, many) == [
        'FieldValueInvalid Invalid value: "": the value is too large for its schema: validation was given up'
    ]
