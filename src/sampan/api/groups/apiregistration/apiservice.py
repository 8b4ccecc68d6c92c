"""APIService (apiregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    service = (obj.get("spec") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "groupPriorityMinimum", "versionPriority")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    service = spec.get("service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = "Unknown"
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            available = condition.get("status", "")
            if available != "True":
                available = f"{available} ({condition.get('reason', '')})"
    return (printing.name(obj), where, available, printing.age(obj, now))


KINDS = (
    Kind(
        group="apiregistration.k8s.io",
        version="v1",
        kind="APIService",
        plural="apiservices",
        singular="apiservice",
        namespaced=False,
        schema="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        name_check=names.path_segment,
        categories=("api-extensions",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        columns=(
            printing.NAME,
            Column("Service"),
            Column("Available"),
            printing.AGE,
        ),
        row=_row,
    ),
)
