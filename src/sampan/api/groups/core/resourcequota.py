"""ResourceQuota (v1): how much a namespace may use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.core.pod_defaults import default_resource_list
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, resources
from sampan.api.validation.common import Errors

_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip
#: an object has them or has not; the others have values
_PLAIN_SCOPES = frozenset({"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity"})
_ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_STANDARD = resources.OBJECT_COUNT_RESOURCES | {
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
    "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
}  # fmt: skip
_OF_PODS = frozenset({"pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
#: the standard resources that a scope can be asked of
_OF_SCOPE = {
    **dict.fromkeys((*_PLAIN_SCOPES, "PriorityClass"), _OF_PODS),
    "BestEffort": frozenset({"pods"}),
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}


def _default(quota: Obj) -> None:
    default_resource_list((quota.get("spec") or {}).get("hard"))
    for key in ("hard", "used"):
        default_resource_list((quota.get("status") or {}).get(key))


def _validate(quota: Obj) -> Errors:
    spec = quota.get("spec") or {}
    hard, scopes = spec.get("hard") or {}, spec.get("scopes") or []
    found = _amounts(hard, "spec.hard")
    unknown, misfit, conflict = (
        errors.invalid("spec.scopes", scopes, what)
        for what in ("unsupported scope", "unsupported scope applied to resource", "conflicting scopes")
    )
    misfits = _misfits(scopes, hard)
    for scope in scopes:
        if scope not in _SCOPES:
            found.append(unknown)
        found += [misfit] * misfits.get(scope, 0)
        if len(found) > errors.MOST_CAUSES:  # of thousands of scopes and resources, each with each
            break
    found += [conflict] * _conflicts(scopes)
    selector = spec.get("scopeSelector")
    return found if selector is None else found + _terms(selector.get("matchExpressions") or [], hard, scopes)


def _terms(terms: list[Obj], hard: Obj, scopes: list[str]) -> Errors:
    found: Errors = []
    path = "spec.scopeSelector.matchExpressions"
    shown = {
        "MatchExpressions": [
            {"ScopeName": t.get("scopeName", ""), "Operator": t.get("operator", ""), "Values": t.get("values")}
            for t in terms
        ]
    }
    named = [term.get("scopeName", "") for term in terms]
    misfits, misfit = _misfits(named, hard), errors.invalid(path, shown, "unsupported scope applied to resource")
    for term, scope in zip(terms, named, strict=True):
        if scope not in _SCOPES:
            found.append(errors.invalid(f"{path}.scopeName", scope, "unsupported scope"))
        found += [misfit] * misfits.get(scope, 0)
        if len(found) > errors.MOST_CAUSES:
            break
        found += _operator(scope, term.get("operator", ""), term.get("values") or [], path)
    conflict = errors.invalid(path, scopes or errors.NIL, "conflicting scopes")
    return found + [conflict] * _conflicts(named)


def _operator(scope: str, operator: str, values: list[str], path: str) -> Errors:
    found: Errors = []
    if scope in _PLAIN_SCOPES and operator != "Exists":
        found.append(errors.invalid(f"{path}.operator", operator, _ONLY_EXISTS))
    if operator in ("In", "NotIn"):
        if not values:
            text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            found.append(errors.required(f"{path}.values", text))
    elif operator not in ("Exists", "DoesNotExist"):
        found.append(errors.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif values:
        text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        found.append(errors.invalid(f"{path}.values", values, text))
    return found


def _amounts(listed: Obj, path: str) -> Errors:
    found: Errors = []
    for name, amount in listed.items():
        where = f"{path}[{name}]"
        found += resources.resource_name(name, where)
        if "/" not in name and not _is_standard(name):
            found.append(errors.invalid(where, name, "must be a standard resource for quota"))
        found += resources.resource_quantity(name, amount, where)
    return found


def _is_standard(name: str) -> bool:
    return name in _STANDARD or resources.is_huge_page(name.removeprefix("requests."))


def _misfits(scopes: Iterable[str], hard: Obj) -> dict[str, int]:
    """Of each scope, how many of the resources that are counted by kind it means nothing to; at most as many as an
    answer names."""
    standard = [name for name in hard if _is_standard(name)]
    return {
        scope: min(errors.MOST_CAUSES, sum(name not in _OF_SCOPE[scope] for name in standard))
        for scope in set(scopes) & _OF_SCOPE.keys()
    }


def _conflicts(scopes: Sequence[str]) -> int:
    """Upstream tells each pair by itself."""
    return sum(pair <= set(scopes) for pair in ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}))


def _validate_update(new: Obj, old: Obj) -> Errors:
    scopes, before = ((quota.get("spec") or {}).get("scopes") or [] for quota in (new, old))
    return [] if set(scopes) == set(before) else [errors.invalid("spec.scopes", scopes or errors.NIL, common.IMMUTABLE)]


def _validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    return [fault for key in ("hard", "used") for fault in _amounts(status.get(key) or {}, f"status.{key}")]


def _row(quota: Obj, now: datetime) -> Sequence[Any]:
    status = quota.get("status") or {}
    used = status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name, hard in sorted((status.get("hard") or {}).items()):
        shown = f"{name}: {used.get(name, '0')}/{hard}"
        (limits if name.startswith("limits.") else requests).append(shown)
    return (printing.name(quota), ", ".join(requests), ", ".join(limits), printing.age(quota, now))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ResourceQuota",
        plural="resourcequotas",
        singular="resourcequota",
        namespaced=True,
        schema="io.k8s.api.core.v1.ResourceQuota",
        returns_deleted=True,
        short_names=("quota",),
        status=True,
        prepare_create=drop_status,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=_validate_status,
        columns=(printing.NAME, Column("Request"), Column("Limit"), printing.AGE),
        row=_row,
    ),
)
