"""What a definition may say besides its schema, and what an update may change, in upstream's words."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from tests.customresources.judging import definition, of, told, updated

Obj = dict[str, Any]

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
                'spec.versions[0].deprecationWarning: Invalid value: "a\\tb": must only contain printable UTF-8 '
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
