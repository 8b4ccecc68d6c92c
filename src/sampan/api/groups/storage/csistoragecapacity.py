"""CSIStorageCapacity (storage.k8s.io/v1)."""

from __future__ import annotations

from sampan.api.groups import printing
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.missing(obj, "storageClassName")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("nodeTopology"), old.get("nodeTopology"), "nodeTopology") + common.immutable(
        new.get("storageClassName"), old.get("storageClassName"), "storageClassName"
    )


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="CSIStorageCapacity",
        plural="csistoragecapacities",
        singular="csistoragecapacity",
        namespaced=True,
        schema="io.k8s.api.storage.v1.CSIStorageCapacity",
        returns_deleted=True,
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
