"""ResourceSlice (resource.k8s.io/v1): devices that a driver offers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing, selectable
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "driver", "pool")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    pool = (spec.get("pool") or {}).get("name", "")
    return (printing.name(obj), spec.get("nodeName", ""), spec.get("driver", ""), pool, printing.age(obj, now))


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="ResourceSlice",
        plural="resourceslices",
        singular="resourceslice",
        namespaced=False,
        schema="io.k8s.api.resource.v1.ResourceSlice",
        generation=True,
        validate=_validate,
        columns=(
            printing.NAME,
            Column("Node"),
            Column("Driver"),
            Column("Pool"),
            printing.AGE,
        ),
        row=_row,
        selectable_fields=selectable.fields_at("spec.nodeName", "spec.driver"),
        selectable_names=("spec.nodeName", "spec.driver"),
    ),
)
