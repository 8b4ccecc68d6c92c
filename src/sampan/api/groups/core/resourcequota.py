"""ResourceQuota (v1): how much a namespace may use."""

from __future__ import annotations

from collections.abc import Sequence
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


def _default(quota: Obj) -> None:
    default_resource_list((quota.get("spec") or {}).get("hard"))
    for key in ("hard", "used"):
        default_resource_list((quota.get("status") or {}).get(key))


def _validate(quota: Obj) -> Errors:
    spec = quota.get("spec") or {}
    found = resources.resource_list(spec.get("hard"), "spec.hard")
    for scope in spec.get("scopes") or ():
        if scope not in _SCOPES:
            found.append(errors.invalid("spec.scopes", spec["scopes"], "unsupported scope"))
    for index, term in enumerate((spec.get("scopeSelector") or {}).get("matchExpressions") or ()):
        path = f"spec.scopeSelector.matchExpressions[{index}]"
        found += common.one_of(term.get("scopeName"), _SCOPES, f"{path}.scopeName", must=True)
        operators = ("In", "NotIn", "Exists", "DoesNotExist")
        found += common.one_of(term.get("operator"), operators, f"{path}.operator", must=True)
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec", {}).get("scopes"), old.get("spec", {}).get("scopes"), "spec.scopes")


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
        columns=(printing.NAME, Column("Request"), Column("Limit"), printing.AGE),
        row=_row,
    ),
)
