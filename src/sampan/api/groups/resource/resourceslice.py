"""ResourceSlice (resource.k8s.io/v1): devices that a driver offers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import gates
from sampan.api.groups import printing, selectable
from sampan.api.groups.resource import offering
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return offering.validate(obj.get("spec") or {}, None, "spec")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return offering.validate(new.get("spec") or {}, old.get("spec") or {}, "spec")


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
        gated=gates.SLICE,
        generation=True,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        demanding=True,
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
