"""VolumeAttributesClass (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.missing(obj, "driverName")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("driverName"), old.get("driverName"), "driverName") + common.immutable(
        new.get("parameters"), old.get("parameters"), "parameters"
    )


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), obj.get("driverName", ""), printing.age(obj, now))


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="VolumeAttributesClass",
        plural="volumeattributesclasses",
        singular="volumeattributesclass",
        namespaced=False,
        schema="io.k8s.api.storage.v1.VolumeAttributesClass",
        short_names=("vac",),
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("DriverName"),
            printing.AGE,
        ),
        row=_row,
    ),
)
