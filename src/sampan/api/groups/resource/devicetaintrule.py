"""DeviceTaintRule (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize
from sampan.api.groups import printing
from sampan.api.groups.resource import naming, taints
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors
from sampan.api.validation.conditions import conditions

_MOST_CONDITIONS = 8


def _validate(obj: Obj) -> Errors:
    return _spec(obj.get("spec") or {}, {})


def _spec(spec: Obj, old: Obj) -> Errors:
    selector, path = spec.get("deviceSelector") or {}, "spec.deviceSelector"
    found: Errors = []
    for key, check in (("driver", naming.driver), ("pool", naming.pool), ("device", naming.label)):
        if selector.get(key) is not None:
            found += check(selector[key], f"{path}.{key}")
    return found + taints.taint(spec.get("taint") or {}, "spec.taint", old.get("taint"))


def _validate_update(new: Obj, old: Obj) -> Errors:
    return _spec(new.get("spec") or {}, old.get("spec") or {})


def _validate_status(new: Obj, old: Obj) -> Errors:
    listed, path = (new.get("status") or {}).get("conditions") or (), "status.conditions"
    found = conditions(listed, path)
    return found + ([errors.too_many(path, len(listed), _MOST_CONDITIONS)] if len(listed) > _MOST_CONDITIONS else [])


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    taint = (obj.get("spec") or {}).get("taint") or {}
    added = taint.get("timeAdded")
    return (
        printing.name(obj),
        taint.get("key", ""),
        taint.get("value", ""),
        taint.get("effect", ""),
        humanize.since(added, now) if added else "",
        printing.age(obj, now),
    )


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="DeviceTaintRule",
        plural="devicetaintrules",
        singular="devicetaintrule",
        namespaced=False,
        schema="io.k8s.api.resource.v1.DeviceTaintRule",
        status=True,
        prepare_create=drop_status,
        generation=True,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=_validate_status,
        ratchets=True,
        columns=(
            printing.NAME,
            Column("Key"),
            Column("Value"),
            Column("Effect"),
            Column("TimeAdded"),
            printing.AGE,
        ),
        row=_row,
    ),
)
