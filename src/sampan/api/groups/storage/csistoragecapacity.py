"""CSIStorageCapacity (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.groups.core.pod_warnings import NODE_LABELS
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    found = common.label_selector(obj.get("nodeTopology"), "nodeTopology")
    found += common.named(names.dns1123_subdomain, obj.get("storageClassName") or "", "storageClassName")
    if obj.get("capacity") is not None:
        found += common.quantity_value(obj["capacity"], "capacity")
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    found = common.immutable(new.get("nodeTopology"), old.get("nodeTopology"), "nodeTopology")
    return found + common.immutable(new.get("storageClassName"), old.get("storageClassName"), "storageClassName")


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    """A topology that asks for labels of old."""
    topology = new.get("nodeTopology") or {}
    told = [
        f"nodeTopology.matchExpressions[{index}].key: {key} is {NODE_LABELS[key]}"
        for index, expression in enumerate(topology.get("matchExpressions") or ())
        if (key := expression.get("key")) in NODE_LABELS
    ]
    labels = topology.get("matchLabels") or {}
    return told + [f"nodeTopology.matchLabels.{key}: {NODE_LABELS[key]}" for key in labels if key in NODE_LABELS]


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
        warnings=_warnings,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
