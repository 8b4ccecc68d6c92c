"""PersistentVolumeClaim (v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, quantity
from sampan.api.groups import printing
from sampan.api.groups.core.pod_defaults import default_resource_list
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_SHORT_MODES = dict(zip(ACCESS_MODES, ("RWO", "ROX", "RWX", "RWOP"), strict=True))
_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
)


def default_claim_spec(spec: Obj) -> None:
    spec.setdefault("volumeMode", "Filesystem")
    default_resource_list((spec.get("resources") or {}).get("requests"))
    default_resource_list((spec.get("resources") or {}).get("limits"))
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif source is None and reference is not None and not reference.get("namespace"):
        spec["dataSource"] = {key: value for key, value in reference.items() if key != "namespace"}


def _default(claim: Obj) -> None:
    default_claim_spec(claim.setdefault("spec", {}))
    if isinstance(claim.get("status"), dict):
        claim["status"].setdefault("phase", "Pending")


def access_modes(modes: list[str] | None, path: str) -> Errors:
    if not modes:
        return [errors.required(path, "at least 1 access mode is required")]
    found = [errors.not_supported(path, mode, sorted(ACCESS_MODES)) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        found.append(errors.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return found


def short_access_modes(modes: list[str] | None) -> str:
    return ",".join(_SHORT_MODES[mode] for mode in ACCESS_MODES if mode in (modes or ()))


def _validate(claim: Obj) -> Errors:
    spec = claim.get("spec") or {}
    found = access_modes(spec.get("accessModes"), "spec.accessModes")
    found += common.label_selector(spec.get("selector"), "spec.selector")
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        found.append(errors.required("spec.resources[storage]"))
    elif quantity.parse(storage) <= 0:
        shown = quantity.canonical(storage)
        found.append(errors.invalid("spec.resources[storage]", shown, "must be greater than zero"))
    return found + common.one_of(spec.get("volumeMode"), ("Block", "Filesystem"), "spec.volumeMode")


def _requested(spec: Obj) -> str:
    amount: str = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    return amount


def _validate_update(new: Obj, old: Obj) -> Errors:
    spec, old_spec = dict(new.get("spec", {})), old.get("spec", {})
    bound = (old.get("status") or {}).get("phase") == "Bound"
    if not old_spec.get("volumeName"):
        spec["volumeName"] = old_spec.get("volumeName")  # binding it is allowed
    found: Errors = []
    if bound:
        after, before = _requested(new.get("spec", {})), _requested(old_spec)
        floor = ((old.get("status") or {}).get("capacity") or {}).get("storage", before)
        if quantity.compare(after, before) < 0 and quantity.compare(after, floor) < 0:
            text = "field can not be less than status.capacity"
            found.append(errors.forbidden("spec.resources.requests.storage", text))
        for key in ("resources", "volumeAttributesClassName"):
            spec[key] = old_spec.get(key)
    if any(spec.get(key) != old_spec.get(key) for key in {**spec, **old_spec}):
        paths = common.changed_paths(spec, old_spec, "spec")
        found.append(errors.forbidden("spec", _IMMUTABLE + "\n".join(sorted(paths))))
    return found


def _prepare_create(claim: Obj) -> None:
    claim["status"] = {"phase": "Pending"}


def _row(claim: Obj, now: datetime) -> Sequence[Any]:
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    phase = "Terminating" if claim.get("metadata", {}).get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    return (
        printing.name(claim),
        phase,
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        short_access_modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or printing.UNSET,
        printing.age(claim, now),
        spec.get("volumeMode") or printing.UNSET,
    )


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="PersistentVolumeClaim",
        plural="persistentvolumeclaims",
        singular="persistentvolumeclaim",
        namespaced=True,
        schema="io.k8s.api.core.v1.PersistentVolumeClaim",
        returns_deleted=True,
        short_names=("pvc",),
        status=True,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        prepare_create=_prepare_create,
        columns=(
            printing.NAME,
            Column("Status"),
            Column("Volume"),
            Column("Capacity"),
            Column("Access Modes"),
            Column("StorageClass"),
            Column("VolumeAttributesClass"),
            printing.AGE,
            printing.wide("VolumeMode"),
        ),
        row=_row,
    ),
)
