"""What a CustomResourceDefinition may say: places, reasons and words of upstream."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from sampan.api import registry, schema
from sampan.api.strategies import MAIN

KIND = next(kind for kind in registry.registry().kinds() if kind.kind == "CustomResourceDefinition")
AT = "spec.validation.openAPIV3Schema"
Obj = dict[str, Any]


def definition(root: Obj | None = None, *, spec: Obj | None = None, **version: Any) -> Obj:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Boat", "plural": "boats"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"} if root is None else root},
                    **version,
                }
            ],
            **(spec or {}),
        },
    }


def of(properties: Obj, **more: Any) -> Obj:
    """A definition whose spec has these properties."""
    return definition({"type": "object", "properties": {"spec": {"type": "object", "properties": properties, **more}}})


def created(given: Obj) -> Obj:
    assert schema.decode(KIND.node, given).error is None
    KIND.default(given)
    KIND.prepare_create(given)
    return given


def told(given: Obj) -> list[str]:
    return [fault.message() for fault in KIND.validate(created(given))]


def updated(old: Obj, new: Obj, *, established: bool = True) -> list[str]:
    created(old)
    if established:
        old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    created(new)
    return [fault.message() for fault in MAIN.validate(KIND, MAIN.merge(KIND, new, old), old)]


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
            f'{P}[a].items.x-kubernetes-map-type: Invalid value: "null": must be atomic as item of a list with '
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
            f'{P}[a].x-kubernetes-validations[0].message: Invalid value: "a\nb": message must not contain line breaks',
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
            f"{P}[a].x-kubernetes-validations[0].rule: Invalid value: apiextensions.ValidationRule{{"
            'Rule:"self + 1", Message:"", MessageExpression:"", Reason:(*apiextensions.FieldValueErrorReason)(nil), '
            'FieldPath:"", OptionalOldSelf:(*bool)(nil)}: cel expression must evaluate to a bool'
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


COLUMN = "spec.additionalPrinterColumns[0]"


@pytest.mark.parametrize(
    ("version", "faults"),
    [
        (
            {"additionalPrinterColumns": [{"name": "A", "type": "text", "jsonPath": ".a", "format": "odd"}]},
            [
                f'{COLUMN}.type: Invalid value: "text": must be one of boolean,date,integer,number,string',
                f'{COLUMN}.format: Invalid value: "odd": must be one of byte,date,date-time,double,float,int32,int64,'
                "password",
            ],
        ),
        (
            {"additionalPrinterColumns": [{"type": "date", "jsonPath": "a"}]},
            [
                f"{COLUMN}.name: Required value",
                f'{COLUMN}.JSONPath: Invalid value: "a": must be a simple json path starting with .',
            ],
        ),
        (
            {"subresources": {"scale": {"specReplicasPath": ".status.n", "labelSelectorPath": ".metadata.x"}}},
            [
                'spec.subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path '
                "under .spec",
                "spec.subresources.scale.statusReplicasPath: Required value",
                'spec.subresources.scale.labelSelectorPath: Invalid value: ".metadata.x": should be a json path under '
                "either .spec or .status",
            ],
        ),
        (
            {"deprecationWarning": "old"},
            [
                'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions',
            ],
        ),
        (
            {"deprecated": True, "deprecationWarning": "a\tb"},
            [
                'spec.versions[0].deprecationWarning: Invalid value: "a\tb": must only contain printable UTF-8 '
                "characters; non-printable character found at index 1"
            ],
        ),
        ({"name": "V1"}, None),
        ({"storage": False}, None),
        ({"schema": None}, ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"]),
    ],
)
def test_a_version_is_judged_in_upstreams_words(version: Obj, faults: list[str] | None) -> None:
    found = told(definition(**version) if "schema" in version else {**definition(), **definition(**version)})
    assert found == faults if faults is not None else found


def test_what_differs_between_versions_is_told_of_the_version() -> None:
    given = definition({"type": "object"})
    second = deepcopy(given["spec"]["versions"][0])
    second.update(name="v2", storage=False, schema={"openAPIV3Schema": {"type": "string"}})
    given["spec"]["versions"].append(second)
    assert told(given) == [
        'spec.versions[1].schema.openAPIV3Schema.type: Invalid value: "string": must be object at the root'
    ]


FIELDS = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
    **{f"s{number}": {"type": "string"} for number in range(9)},
    "o": {"type": "object"}, "l": {"type": "array", "items": {"type": "string"}},
}}, "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "faults"),
    [
        ([".spec.s1", ".spec.s2"], []),
        ([""], ["spec.selectableFields[0].jsonPath: Required value"]),
        ([".spec.s1", ".spec.s1"], ['spec.selectableFields[1].jsonPath: Duplicate value: ".spec.s1"']),
        (["spec.s1"], ['spec.selectableFields[0].jsonPath: Invalid value: "spec.s1": is an invalid path: '
                       "expected [ or . but got: spec"]),
        ([".spec['s1']"], ["spec.selectableFields[0].jsonPath: Invalid value: \".spec['s1']\": is an invalid path: "
                           "array notation is not allowed"]),
        ([".spec.zz"], ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.zz": is an invalid path: '
                        "does not refer to a valid field"]),
        ([".metadata.name"], ['spec.selectableFields[0].jsonPath: Invalid value: ".metadata.name": '
                              "must not point to fields in metadata"]),
        ([".spec.o"], ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.o": must point to a field of type '
                       "string, boolean or integer. Enum string fields and strings with formats are allowed."]),
        ([f".spec.s{number}" for number in range(9)], ["spec.selectableFields: Too many: 9: must have at most 8 "
                                                       "items"]),
    ],
)  # fmt: skip
def test_selectable_fields_are_scalars_of_the_schema(paths: list[str], faults: list[str]) -> None:
    assert told(definition(FIELDS, selectableFields=[{"jsonPath": path} for path in paths])) == faults


WEBHOOK = "spec.conversion.webhookClientConfig"


@pytest.mark.parametrize(
    ("conversion", "faults"),
    [
        (
            {"strategy": "Odd"},
            ['spec.conversion.strategy: Unsupported value: "Odd": supported values: "None", "Webhook"'],
        ),
        (
            {"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://a"}}},
            [
                f"{WEBHOOK}: Forbidden: should not be set when strategy is not set to Webhook",
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to "
                "Webhook",
            ],
        ),
        (
            {"strategy": "Webhook"},
            [
                f"{WEBHOOK}: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v7"], "clientConfig": {}}},
            [
                f"{WEBHOOK}: Required value: exactly one of url or service is required",
                'spec.conversion.conversionReviewVersions: Invalid value: ["v7"]: must include at least one of '
                "v1, v1beta1",
            ],
        ),
        (
            {
                "strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "http://u@h/p?q#f"}},
            },
            [
                f"{WEBHOOK}.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: "
                "https://host[/path]",
                f'{WEBHOOK}.url: Invalid value: "u": user information is not permitted in the URL',
                f'{WEBHOOK}.url: Invalid value: "f": fragments are not permitted in the URL',
                f'{WEBHOOK}.url: Invalid value: "q": query parameters are not permitted in the URL',
            ],
        ),
        (
            {
                "strategy": "Webhook",
                "webhook": {
                    "conversionReviewVersions": ["v1"],
                    "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/a//b"}},
                },
            },
            [f'{WEBHOOK}.service.path: Invalid value: "/a//b": segment[1] may not be empty'],
        ),
    ],
)
def test_a_conversion_says_whom_to_ask_and_how(conversion: Obj, faults: list[str]) -> None:
    assert told(definition(spec={"conversion": conversion})) == faults


def test_names_are_labels_and_the_kind_differs_from_its_list() -> None:
    names = {"kind": "Boat", "listKind": "Boat", "plural": "boats", "shortNames": ["B"], "categories": [""]}
    found = told(definition(spec={"names": names}))
    assert [fault.partition(":")[0] for fault in found] == [
        "spec.names.shortNames[0]", "spec.names.listKind", "spec.names.categories[0]",
    ]  # fmt: skip
    assert 'spec.names.listKind: Invalid value: "Boat": kind and listKind may not be the same' in found


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        (None, 'Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see '
               "https://github.com/kubernetes/enhancements/pull/1111"),
        ("sure", 'Invalid value: "sure": protected groups must have approval annotation '
                 '"api-approved.kubernetes.io" with '
                 'either a URL or a reason starting with "unapproved", see '
                 "https://github.com/kubernetes/enhancements/pull/1111"),
        ("unapproved, an experiment", None),
        ("https://github.com/kubernetes/kubernetes/pull/1", None),
    ],
)  # fmt: skip
def test_groups_of_the_community_need_its_approval(annotation: str | None, fault: str | None) -> None:
    given = definition(spec={"group": "boats.k8s.io"})
    given["metadata"] = {"name": "boats.boats.k8s.io"}
    if annotation is not None:
        given["metadata"]["annotations"] = {"api-approved.kubernetes.io": annotation}
    path = "metadata.annotations[api-approved.kubernetes.io]"
    assert told(given) == ([f"{path}: {fault}"] if fault else [])


def test_once_established_scope_and_kind_stay() -> None:
    new = definition(spec={"scope": "Cluster", "names": {"kind": "Ship", "plural": "boats"}})
    assert updated(definition(), deepcopy(new), established=False) == []
    assert updated(definition(), new) == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Ship": field is immutable',
    ]


def test_a_version_that_was_stored_may_not_go_before_its_objects_are_migrated() -> None:
    new = definition(name="v2")
    assert updated(definition(), new) == [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage '
        "version, "
        "and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and "
        "removes "
        "v1 from status.storedVersions"
    ]


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}},
        {"a": {"type": "object", "default": {"b": 1}}},
        {
            "a": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            }
        },
    ],
)  # fmt: skip
def test_an_update_may_keep_what_was_allowed_once(properties: Obj) -> None:
    old, new = of(properties), of({**properties, "b": {"type": "string"}})
    assert told(deepcopy(new))
    assert updated(old, new) == []


def test_a_schema_that_did_not_change_is_not_judged_again() -> None:
    broken = of({"a": {}})
    relabelled = deepcopy(broken)
    relabelled["metadata"]["labels"] = {"a": "b"}
    assert updated(broken, relabelled) == []


def test_a_bundle_of_certificates_that_is_none_is_refused_once_somebody_relies_on_it() -> None:
    def hooked(**client: Any) -> Obj:
        webhook = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://a", **client}}
        return definition(spec={"conversion": {"strategy": "Webhook", "webhook": webhook}})

    assert told(hooked(caBundle="Tm9uZQ==")) == []
    assert updated(hooked(caBundle="Tm9uZQ=="), hooked(caBundle="Tm9wZQ==")) == []
    (fault,) = updated(hooked(), hooked(caBundle="Tm9uZQ=="))
    assert fault.endswith("unable to load root certificates: unable to parse bytes as PEM block")
