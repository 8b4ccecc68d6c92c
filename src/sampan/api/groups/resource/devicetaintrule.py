"""DeviceTaintRule (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import humanize
from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "taint")


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
