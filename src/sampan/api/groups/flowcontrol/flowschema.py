"""FlowSchema (flowcontrol.apiserver.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.flowcontrol import conditions, mandatory, rules
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


_METHODS = ("ByNamespace", "ByUser")
_LARGEST_PRECEDENCE = 10000


def _validate(obj: Obj) -> Errors:
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
    found = _precedence(spec.get("matchingPrecedence") or 0, name)
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        shown = go_values.struct(method, _METHOD)
        found.append(errors.not_supported("spec.distinguisherMethod.type", shown, _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    where = "spec.priorityLevelConfiguration.name"
    if level:
        found += common.named(names.dns1123_subdomain, level, where)
    else:
        found.append(errors.required(where, "must reference a priority level"))
    found += rules.validate(spec.get("rules") or (), "spec.rules")
    if name in mandatory.SCHEMAS and not mandatory.same(spec, mandatory.SCHEMAS[name]):
        text = f"spec of '{name}' must equal the fixed value"
        found.append(errors.invalid("spec", go_values.struct(spec, _SPEC), text))
    return found


def _precedence(value: int, name: str) -> Errors:
    path = "spec.matchingPrecedence"
    if value <= 0:
        return [errors.invalid(path, value, "must be a positive value")]
    if value > _LARGEST_PRECEDENCE:
        return [errors.invalid(path, value, f"must not be greater than {_LARGEST_PRECEDENCE}")]
    if value == 1 and name != "exempt":
        return [errors.invalid(path, value, "only the schema named 'exempt' may have matchingPrecedence 1")]
    return []


_METHOD: go_values.Layout = {"type": ("Type", "", None)}
_NAME: go_values.Layout = {"name": ("Name", "", None)}
_ACCOUNT: go_values.Layout = {"namespace": ("Namespace", "", None), **_NAME}
_SUBJECT: go_values.Layout = {
    "kind": ("Kind", "", None),
    "user": ("User", None, _NAME),
    "group": ("Group", None, _NAME),
    "serviceAccount": ("ServiceAccount", None, _ACCOUNT),
}
_RESOURCE_RULE: go_values.Layout = {
    "verbs": ("Verbs", None, None),
    "apiGroups": ("APIGroups", None, None),
    "resources": ("Resources", None, None),
    "clusterScope": ("ClusterScope", False, None),
    "namespaces": ("Namespaces", None, None),
}
_URL_RULE: go_values.Layout = {"verbs": ("Verbs", None, None), "nonResourceURLs": ("NonResourceURLs", None, None)}
_RULE: go_values.Layout = {
    "subjects": ("Subjects", None, _SUBJECT),
    "resourceRules": ("ResourceRules", None, _RESOURCE_RULE),
    "nonResourceRules": ("NonResourceRules", None, _URL_RULE),
}
#: as refusals show it
_SPEC: go_values.Layout = {
    "priorityLevelConfiguration": ("PriorityLevelConfiguration", {"Name": ""}, _NAME),
    "matchingPrecedence": ("MatchingPrecedence", 0, None),
    "distinguisherMethod": ("DistinguisherMethod", None, _METHOD),
    "rules": ("Rules", None, _RULE),
}


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    missing = "?"
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Dangling":
            missing = condition.get("status", "?")
    return (
        printing.name(obj),
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0),
        (spec.get("distinguisherMethod") or {}).get("type") or printing.NONE,
        printing.age(obj, now),
        missing,
    )


KINDS = (
    Kind(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="FlowSchema",
        plural="flowschemas",
        singular="flowschema",
        namespaced=False,
        schema="io.k8s.api.flowcontrol.v1.FlowSchema",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        validate_status=conditions.validate_status,
        columns=(
            printing.NAME,
            Column("PriorityLevel"),
            Column("MatchingPrecedence"),
            Column("DistinguisherMethod"),
            printing.AGE,
            Column("MissingPL"),
        ),
        row=_row,
    ),
)
