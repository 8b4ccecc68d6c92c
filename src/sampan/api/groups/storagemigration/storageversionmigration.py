"""StorageVersionMigration (storagemigration.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "resource")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


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
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
