"""PersistentVolume (v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, quantity
from sampan.api.groups import printing
from sampan.api.groups.core.persistentvolumeclaim import access_modes, short_access_modes
from sampan.api.groups.core.pod_defaults import default_legacy_sources, default_resource_list, default_volume
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, scheduling, volumes
from sampan.api.validation.common import Errors

_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")


def _default(volume: Obj) -> None:
    spec = volume.setdefault("spec", {})
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    spec.setdefault("volumeMode", "Filesystem")
    default_resource_list(spec.get("capacity"))
    default_legacy_sources(spec)
    if spec.get("hostPath") is not None:
        default_volume({"name": "", "hostPath": spec["hostPath"]})
    if isinstance(volume.get("status"), dict):
        volume["status"].setdefault("phase", "Pending")


def _prepare_create(volume: Obj) -> None:
    volume["status"] = {"phase": "Pending"}


def _source(spec: Obj) -> Errors:
    if spec.get("local") is not None:
        found = common.needed(spec["local"], "spec.local", "path")
        if not (spec.get("nodeAffinity") or {}).get("required"):
            found.append(errors.required("spec.nodeAffinity", "Local volume requires node affinity"))
        return found
    if spec.get("csi") is not None:
        return common.needed(spec["csi"], "spec.csi", "driver", "volumeHandle")
    return volumes.volume_source(spec, "spec")


def _validate(volume: Obj) -> Errors:
    spec = volume.get("spec") or {}
    found = access_modes(spec.get("accessModes"), "spec.accessModes")
    capacity = spec.get("capacity") or {}
    if not capacity:
        found.append(errors.required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        found.append(errors.not_supported("spec.capacity", capacity, ("storage",)))
    elif quantity.parse(capacity["storage"]) <= 0:
        text = "must be greater than zero"
        found.append(errors.invalid("spec.capacity[storage]", capacity["storage"], text))
    policy = spec.get("persistentVolumeReclaimPolicy")
    found += common.one_of(policy, _RECLAIM_POLICIES, "spec.persistentVolumeReclaimPolicy")
    found += common.one_of(spec.get("volumeMode"), ("Block", "Filesystem"), "spec.volumeMode")
    if (required := (spec.get("nodeAffinity") or {}).get("required")) is not None:
        found += scheduling.node_selector(required, "spec.nodeAffinity.required")
    return found + _source(spec)


_MUTABLE = (
    "capacity", "accessModes", "persistentVolumeReclaimPolicy", "claimRef", "mountOptions", "storageClassName",
    "nodeAffinity", "volumeAttributesClassName", "volumeMode",
)  # fmt: skip


def _validate_update(new: Obj, old: Obj) -> Errors:
    spec, old_spec = new.get("spec", {}), old.get("spec", {})
    found: Errors = []
    for key in {**spec, **old_spec}:
        if key not in _MUTABLE and spec.get(key) != old_spec.get(key):
            text = "spec.persistentvolumesource is immutable after creation"
            found.append(errors.forbidden("spec.persistentvolumesource", text))
            break
    return found + common.immutable(spec.get("volumeMode"), old_spec.get("volumeMode"), "spec.volumeMode")


def _row(volume: Obj, now: datetime) -> Sequence[Any]:
    spec, status = volume.get("spec") or {}, volume.get("status") or {}
    claim = spec.get("claimRef") or {}
    terminating = volume.get("metadata", {}).get("deletionTimestamp")
    return (
        printing.name(volume),
        (spec.get("capacity") or {}).get("storage", ""),
        short_access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if terminating else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or printing.UNSET,
        status.get("reason", ""),
        printing.age(volume, now),
        spec.get("volumeMode") or printing.UNSET,
    )


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="PersistentVolume",
        plural="persistentvolumes",
        singular="persistentvolume",
        namespaced=False,
        schema="io.k8s.api.core.v1.PersistentVolume",
        returns_deleted=True,
        short_names=("pv",),
        status=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        prepare_create=_prepare_create,
        columns=(
            printing.NAME,
            Column("Capacity"),
            Column("Access Modes"),
            Column("Reclaim Policy"),
            Column("Status"),
            Column("Claim"),
            Column("StorageClass"),
            Column("VolumeAttributesClass"),
            Column("Reason"),
            printing.AGE,
            printing.wide("VolumeMode"),
        ),
        row=_row,
    ),
)
