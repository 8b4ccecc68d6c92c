"""What a definition's schema may say: places, reasons and words of upstream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.customresources.judging import AT, definition, of, told

Obj = dict[str, Any]
P = f"{AT}.properties[spec].properties"

SCHEMAS: list[tuple[Obj, list[str]]] = [
    # structural
    ({"a": {}}, [f"{P}[a].type: Required value: must not be empty for specified object fields"]),
    ({"a": {"type": "array"}}, [f"{P}[a].items: Required value: must be specified"]),
    (
        {"a": {"type": "array", "items": {}}},
        [f"{P}[a].items.type: Required value: must not be empty for specified array items"],
    ),
    (
        {"a": {"type": "string", "anyOf": [{"type": "string"}]}},
        [f"{P}[a].anyOf[0].type: Forbidden: must be empty to be structural"],
    ),
    (
        {"a": {"type": "object", "oneOf": [{"additionalProperties": True, "default": {}, "nullable": True}]}},
        [
            f"{P}[a].oneOf[0].additionalProperties: Forbidden: must be undefined to be structural",
            f"{P}[a].oneOf[0].default: Forbidden: must be undefined to be structural",
            f"{P}[a].oneOf[0].nullable: Forbidden: must be false to be structural",
        ],
    ),
    ({"a": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}}, []),
    (
        {"a": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "string"}, {"type": "integer"}]}},
        [
            f"{P}[a].anyOf[0].type: Forbidden: must be empty to be structural",
            f"{P}[a].anyOf[1].type: Forbidden: must be empty to be structural",
        ],
    ),
    (
        {"a": {"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True}},
        [
            f"{P}[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: "
            "must be false if x-kubernetes-int-or-string is true"
        ],
    ),
    (
        {"a": {"type": "string", "x-kubernetes-embedded-resource": True}},
        [
            f"{P}[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields",
            f'{P}[a].type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true',
        ],
    ),
    (
        {"a": {"type": "string", "pattern": "("}},
        [
            f'{P}[a].pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: '
            "error parsing regexp: missing closing ): `(`"
        ],
    ),
    # types and what is refused
    (
        {"a": {"type": "text"}},
        [
            f'{P}[a].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", '
            '"object", "string"'
        ],
    ),
    ({"a": {"type": "object", "$ref": "#/x"}}, [f"{P}[a].$ref: Forbidden: $ref is not supported"]),
    (
        {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
        [
            f"{P}[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
            "quadratic"
        ],
    ),
    (
        {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}},
        [f"{P}[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    (
        {"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": False}},
        [f"{P}[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
    ),
    # lists and maps
    (
        {"a": {"type": "object", "x-kubernetes-map-type": "odd"}},
        [f'{P}[a].x-kubernetes-map-type: Unsupported value: "odd": supported values: "atomic", "granular"'],
    ),
    (
        {"a": {"type": "string", "x-kubernetes-list-type": "set"}},
        [f'{P}[a].type: Invalid value: "string": must be array if x-kubernetes-list-type is specified'],
    ),
    (
        {"a": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"}},
        [
            f"{P}[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
            "x-kubernetes-list-type=set"
        ],
    ),
    (
        {"a": {"type": "array", "items": {"type": "string", "nullable": True}, "x-kubernetes-list-type": "set"}},
        [f"{P}[a].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"],
    ),
    (
        {"a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["b"]}},
        [f"{P}[a].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
    ),
    (
        {"a": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}},
        [
            f"{P}[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ],
    ),
    (
        {
            "a": {
                "type": "array",
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k", "z"],
            }
        },
        [
            f'{P}[a].x-kubernetes-list-map-keys: Invalid value: ["k","z"]: entries must all be names of item '
            f"properties",
            f"{P}[a].items.properties[k].default: Required value: this property is in "
            f"x-kubernetes-list-map-keys, so it "
            "must have a default or be a required property",
        ],
    ),
    # defaults
    (
        {"a": {"type": "integer", "default": "x"}},
        [f'{P}[a].default: Invalid value: "string":  in body must be of type integer: "string"'],
    ),
    (
        {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": 1}}},
        [f'{P}[a].default: Invalid value: {{"c":1}}: must not have unknown fields'],
    ),
    (
        {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"], "default": {}}},
        [f"{P}[a].default.b: Required value"],
    ),
    (
        {"a": {"type": "integer", "default": 3, "x-kubernetes-validations": [{"rule": "self > 5"}]}},
        [f'{P}[a].default: Invalid value: "integer": failed rule: self > 5'],
    ),
    (
        {
            "a": {
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "properties": {
                    "metadata": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "default": "a/b"}},
                    }
                },
            }
        },
        [
            f'{P}[a].properties[metadata].properties[name].default: Invalid value: "a/b": must result in valid '
            f"metadata: "
            "metadata.name: Invalid value: \"a/b\": may not contain '/'"
        ],
    ),
    # rules
    (
        {"a": {"type": "string", "x-kubernetes-validations": [{"rule": " "}]}},
        [f"{P}[a].x-kubernetes-validations[0].rule: Required value: rule is not specified"],
    ),
    (
        {"a": {"type": "string", "x-kubernetes-validations": [{"rule": "true", "message": "a\nb", "reason": "Odd"}]}},
        [
            f'{P}[a].x-kubernetes-validations[0].message: Invalid value: "a\\nb": message must not contain line breaks',
            f'{P}[a].x-kubernetes-validations[0].reason: Unsupported value: "Odd": supported values: '
            '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"',
        ],
    ),
    (
        {"a": {"type": "object", "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".nope"}]}},
        [f'{P}[a].x-kubernetes-validations[0].fieldPath: Invalid value: ".nope": fieldPath must be a valid path'],
    ),
    (
        {"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self + 1"}]}},
        [
            f"{P}[a].x-kubernetes-validations[0].rule: Invalid value: "
            '{"Rule":"self + 1","Message":"","MessageExpression":"","Reason":null,"FieldPath":"",'
            '"OptionalOldSelf":null}: cel expression must evaluate to a bool'
        ],
    ),
    (
        {
            "a": {
                "type": "array",
                "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
            }
        },
        [
            f'{P}[a].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot '
            f"be used on "
            f"the uncorrelatable portion of the schema within {P}[a]"
        ],
    ),
    (
        {"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1", "optionalOldSelf": True}]}},
        [
            f"{P}[a].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if "
            f"oldSelf is not "
            "used in rule"
        ],
    ),
    (
        {
            "a": {
                "type": "array",
                "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.matches('a+b+')"}]},
            }
        },
        [
            f"{P}[a].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by "
            f"factor of "
            "more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
            "maps, and strings are declared)",
            f"{P}[a].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total "
            "exceeding cost limit for entire OpenAPIv3 schema",
            f"{AT}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds "
            "budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and "
            "maxLength where arrays, maps, and strings are declared)",
        ],
    ),
]


@pytest.mark.parametrize(("properties", "faults"), SCHEMAS)
def test_a_schema_is_judged_in_upstreams_words(properties: Obj, faults: list[str]) -> None:
    assert told(of(properties)) == faults


def definition_of_metadata(properties: Obj) -> Obj:
    return {"type": "object", "properties": {"metadata": {"type": "object", "properties": properties}}}


@pytest.mark.parametrize(
    ("root", "fault"),
    [
        ({"type": "string"}, f'{AT}.type: Invalid value: "string": must be object at the root'),
        ({"properties": {}}, f"{AT}.type: Required value: must not be empty at the root"),
        (
            {"type": "object", "additionalProperties": True},
            f"{AT}.additionalProperties: Forbidden: must not be used at the root",
        ),
        ({"type": "object", "nullable": True}, f"{AT}.nullable: Forbidden: nullable cannot be true at the root"),
        (
            {"type": "object", "properties": {"kind": {"type": "integer"}}},
            f'{AT}.properties[kind].type: Invalid value: "integer": must be string',
        ),
        (
            {"type": "object", "properties": {"metadata": {"type": "object", "required": ["name"]}}},
            f"{AT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
            "metadata is implicitly specified",
        ),
        (
            definition_of_metadata({"name": {"type": "string", "default": "x"}}),
            f"{AT}.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata",
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]},
            f"{AT}.properties[a]: Required value: because it is defined in {AT}.anyOf[0].properties[a]",
        ),
    ],
)  # fmt: skip
def test_the_root_of_a_schema_is_an_object_whose_metadata_is_known(root: Obj, fault: str) -> None:
    assert fault in told(definition(root))


def test_with_a_status_subresource_the_root_says_only_what_its_parts_could_say() -> None:
    root = {"type": "object", "anyOf": [{"required": ["a"]}]}
    assert told(definition(root)) == []
    (fault,) = told(definition(root, subresources={"status": {}}))
    assert fault.endswith("fields are allowed at the root of the schema if the status subresource is enabled")


@pytest.mark.parametrize("most", [2**63 - 1, 2**64 - 1, 1.8446744073709552e19, 1e300])
def test_a_limit_of_any_size_can_be_written_again(most: float) -> None:
    given = of({"a": {"type": "integer", "maximum": most}})
    assert told(given) == []
    kept = orjson.loads(orjson.dumps(given))
    assert kept["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["a"] == {
        "type": "integer",
        "maximum": float(most),
    }


def test_rules_beyond_number_are_refused_before_any_is_compiled() -> None:
    rules = [{"rule": "true"}] * 5000
    (fault,) = told(of({"a": {"type": "string", "x-kubernetes-validations": rules}}))
    assert fault == f"{AT}: Forbidden: x-kubernetes-validations must not have more than 4096 rules in all, found 5000"
