"""StorageClass (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

#: Claims that name no class get the one with this annotation.
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _default(obj: Obj) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _validate(obj: Obj) -> Errors:
    found = common.missing(obj, "provisioner")
    found += common.one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy")
    modes = ("Immediate", "WaitForFirstConsumer")
    return found + common.one_of(obj.get("volumeBindingMode"), modes, "volumeBindingMode")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return (
        common.immutable(new.get("provisioner"), old.get("provisioner"), "provisioner")
        + common.immutable(new.get("parameters"), old.get("parameters"), "parameters")
        + common.immutable(new.get("reclaimPolicy"), old.get("reclaimPolicy"), "reclaimPolicy")
        + common.immutable(new.get("volumeBindingMode"), old.get("volumeBindingMode"), "volumeBindingMode")
    )


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    name = printing.name(obj)
    if (obj.get("metadata", {}).get("annotations") or {}).get(DEFAULT_CLASS) == "true":
        name += " (default)"
    return (
        name,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        "true" if obj.get("allowVolumeExpansion") else "false",
        printing.age(obj, now),
    )


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="StorageClass",
        plural="storageclasses",
        singular="storageclass",
        namespaced=False,
        schema="io.k8s.api.storage.v1.StorageClass",
        returns_deleted=True,
        short_names=("sc",),
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("Provisioner"),
            Column("ReclaimPolicy"),
            Column("VolumeBindingMode"),
            Column("AllowVolumeExpansion"),
            printing.AGE,
        ),
        row=_row,
    ),
)
