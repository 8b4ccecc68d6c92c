"""VolumeAttributesClass (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.storage import parameters
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    found = parameters.provisioner(obj.get("driverName") or "", "driverName")
    return found + parameters.validate(obj.get("parameters"), "parameters", needed=True)


def _validate_update(new: Obj, old: Obj) -> Errors:
    """What may not change is told first."""
    changed = [key for key in ("driverName", "parameters") if (new.get(key) or None) != (old.get(key) or None)]
    return [errors.forbidden(key, f"updates to {key} are forbidden.") for key in changed] + _validate(new)


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
        ratchets=True,
        columns=(
            printing.NAME,
            Column("DriverName"),
            printing.AGE,
        ),
        row=_row,
    ),
)
