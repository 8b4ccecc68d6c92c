"""StorageVersionMigration (storagemigration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "resource")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    resource = (obj.get("spec") or {}).get("resource") or {}
    said = (obj.get("status") or {}).get("conditions") or ()
    true = [condition.get("type", "") for condition in said if condition.get("status") == "True"]
    state = next((state for state in ("Succeeded", "Failed", "Running") if state in true), "Pending")
    named = ".".join(filter(None, (resource.get("resource"), resource.get("group"))))
    return (printing.name(obj), named, state)


KINDS = (
    Kind(
        group="storagemigration.k8s.io",
        version="v1",
        kind="StorageVersionMigration",
        plural="storageversionmigrations",
        singular="storageversionmigration",
        namespaced=False,
        schema="io.k8s.api.storagemigration.v1.StorageVersionMigration",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        generation=True,
        validate=_validate,
        validate_update=_validate_update,
        columns=(Column("Name"), Column("Resource"), Column("Status")),
        row=_row,
    ),
)
