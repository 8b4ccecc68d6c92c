"""CustomResourceDefinition (apiextensions.k8s.io/v1): what is judged of it at large is in ``tests/customresources``."""

from __future__ import annotations

from typing import Any

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, invalid, not_supported, required
from kind_texts import IMMUTABLE

_SCHEMA: dict[str, Any] = {"openAPIV3Schema": {"type": "object"}}
_NAMES = {"plural": "boats", "kind": "Boat"}
_NAMES_STORED = {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"}
_VERSION = {"name": "v1", "served": True, "storage": True, "schema": _SCHEMA}
_SPEC: dict[str, Any] = {"group": "ex.io", "scope": "Namespaced", "names": _NAMES, "versions": [_VERSION]}
_STATUS = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]}
_FULL_NAMES = {
    "plural": "boats",
    "singular": "boat",
    "shortNames": ["bt"],
    "kind": "Boat",
    "listKind": "BoatList",
    "categories": ["all"],
}
_FULL: dict[str, Any] = {
    "group": "ex.io",
    "scope": "Cluster",
    "names": _FULL_NAMES,
    "versions": [
        {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "properties": {"masts": {"type": "integer", "default": 1}, "name": {"type": "string"}},
                            "x-kubernetes-validations": [{"rule": "self.masts < 9", "message": "too many"}],
                        },
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            },
            "subresources": {
                "status": {},
                "scale": {"specReplicasPath": ".spec.masts", "statusReplicasPath": ".status.masts"},
            },
            "additionalPrinterColumns": [{"name": "Masts", "type": "integer", "jsonPath": ".spec.masts"}],
            "selectableFields": [{"jsonPath": ".spec.name"}],
        },
        {"name": "v1beta1", "served": False, "storage": False, "deprecated": True, "schema": _SCHEMA},
    ],
    "conversion": {"strategy": "None"},
}
_V, _V0 = "spec.versions[0]", "spec.versions.0"
_RULES = f"{_V0}.schema.openAPIV3Schema.properties.spec.x-kubernetes-validations"
_LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)

CASES = KindCases(
    api_version="apiextensions.k8s.io/v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "boats.ex.io"}, "spec": _SPEC},
    minimal_stored={"spec": {**_SPEC, "names": _NAMES_STORED, "conversion": {"strategy": "None"}}, "status": _STATUS},
    full={"metadata": {"name": "boats.ex.io"}, "spec": _FULL},
    full_stored={"spec": _FULL, "status": _STATUS},
    invalid=[
        Invalid(
            "another name",
            {"metadata.name": "ships.ex.io"},
            [invalid("metadata.name", '"ships.ex.io"', 'must be spec.names.plural+"."+spec.group')],
            together=True,
        ),
        Invalid(
            "neither of a namespace nor of the cluster",
            {"spec.scope": "World"},
            [not_supported("spec.scope", '"World"', "Cluster", "Namespaced")],
        ),
        Invalid(
            "a plural with capitals",
            {"spec.names.plural": "Boats", "metadata.name": "Boats.ex.io"},
            [
                invalid("metadata.name", '"Boats.ex.io"', SUBDOMAIN),
                invalid("spec.names.plural", '"Boats"', _LABEL),
            ],
        ),
        Invalid(
            "a kind of a number",
            {"spec.names.kind": "9"},
            [invalid("spec.names.kind", '"9"', f"may have mixed case, but should otherwise match: {_LABEL}")],
        ),
        Invalid(
            "a list that is named like what it lists",
            {"spec.names.listKind": "Boat"},
            [invalid("spec.names.listKind", '"Boat"', "kind and listKind may not be the same")],
            together=True,
        ),
        Invalid(
            "kept in two versions",
            {"spec.versions.1.storage": True},
            [invalid("spec.versions", '["v1","v1beta1"]', "must have exactly one version marked as storage version")],
            together=True,
        ),
        Invalid(
            "a version twice",
            {"spec.versions.1.name": "v1"},
            [invalid("spec.versions", '["v1","v1"]', "must contain unique version names")],
            together=True,
        ),
        Invalid(
            "a group without a dot",
            {"spec.group": "io", "metadata.name": "boats.io"},
            [invalid("spec.group", '"io"', "should be a domain with at least one dot")],
        ),
        Invalid(
            "a column of text",
            {f"{_V0}.additionalPrinterColumns.0.type": "text"},
            [
                invalid(
                    f"{_V}.additionalPrinterColumns[0].type",
                    '"text"',
                    "must be one of boolean,date,integer,number,string",
                )
            ],
        ),
        Invalid(
            "replicas that are told and not asked for",
            {f"{_V0}.subresources.scale.specReplicasPath": ".status.masts"},
            [
                invalid(
                    f"{_V}.subresources.scale.specReplicasPath",
                    '".status.masts"',
                    "should be a json path under .spec",
                )
            ],
        ),
        Invalid(
            "a warning of what is not deprecated",
            {f"{_V0}.deprecationWarning": "old"},
            [invalid(f"{_V}.deprecationWarning", '"old"', "can only be set for deprecated versions")],
            together=True,
        ),
        Invalid(
            "converted by nobody",
            {"spec.conversion": {"strategy": "Webhook"}},
            [
                required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook"),
                required("spec.conversion.conversionReviewVersions"),
            ],
            together=True,
        ),
        Invalid(
            "a rule about what is not there",
            {f"{_RULES}.0.rule": "self.sails < 2"},
            [
                invalid(
                    f"{_V}.schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule",
                    '{"Rule":"self.sails \\u003c 2","Message":"too many","MessageExpression":"","Reason":null,'
                    '"FieldPath":"","OptionalOldSelf":null}',
                    "compilation failed: ERROR: <input>:1:5: undefined field 'sails'\n | self.sails < 2\n | ....^",
                )
            ],
        ),
    ],
    updates=[
        Update(
            "another group",
            {"spec.group": "e.io"},
            [
                invalid("spec.group", '"e.io"', IMMUTABLE),
            ],
        ),
        Update("no columns", {f"{_V0}.additionalPrinterColumns": GONE}, allowed=True),
        Update("another rule", {f"{_RULES}.0.rule": "self.masts < 3"}, allowed=True),
    ],
    rows=[Row("made an hour ago", {}, ["boats.ex.io", "2026-11-21T11:00:00Z"])],
)
