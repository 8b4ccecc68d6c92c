"""PersistentVolumeClaim (v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, go_diff, names, quantity
from sampan.api.groups import printing
from sampan.api.groups.core.pod_defaults import default_resource_list
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import claims, common, resources
from sampan.api.validation.common import Errors

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_SHORT_MODES = dict(zip(ACCESS_MODES, ("RWO", "ROX", "RWX", "RWOP"), strict=True))
#: what was an annotation before it was a field
STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
OLD_STORAGE_CLASS = (
    f'metadata.annotations[{STORAGE_CLASS}]: deprecated since v1.8; use "storageClassName" attribute instead'
)
_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
)
_REQUESTED = "spec.resources.requests.storage"
_ATTRIBUTES = "spec.volumeAttributesClassName"


def default_claim_spec(spec: Obj) -> None:
    spec.setdefault("volumeMode", "Filesystem")
    default_resource_list((spec.get("resources") or {}).get("requests"))
    default_resource_list((spec.get("resources") or {}).get("limits"))


def _default(claim: Obj) -> None:
    default_claim_spec(claim.setdefault("spec", {}))
    if isinstance(claim.get("status"), dict):
        claim["status"].setdefault("phase", "Pending")


def short_access_modes(modes: list[str] | None) -> str:
    return ",".join(_SHORT_MODES[mode] for mode in ACCESS_MODES if mode in (modes or ()))


# -- strategy


def _prepare_create(claim: Obj) -> None:
    claim["status"] = {"phase": "Pending"}
    _match_sources(claim.setdefault("spec", {}), {})


def _prepare_update(new: Obj, old: Obj) -> None:
    _match_sources(new.setdefault("spec", {}), old.get("spec") or {})


def _match_sources(spec: Obj, before: Obj) -> None:
    """The old field and the new one say the same. What the old one never could name is ignored in it, as ever, and a
    source in another namespace is behind a gate that is off."""
    reference = spec.get("dataSourceRef")
    if reference is not None and reference.get("namespace") and before.get("dataSourceRef") is None:
        del spec["dataSourceRef"]
        reference = None
    source = spec.get("dataSource")
    in_use = before.get("dataSource") is not None or before.get("dataSourceRef") is not None
    if source is not None and reference is None and not in_use and not _is_old_source(source):
        del spec["dataSource"]
        source = None
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif source is None and reference is not None and not reference.get("namespace"):
        spec["dataSource"] = {key: value for key, value in reference.items() if key != "namespace"}


def _is_old_source(source: Obj) -> bool:
    named = (source.get("apiGroup") or "", source.get("kind", ""))
    return named in (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


# -- rules


def _validate(claim: Obj) -> Errors:
    return claims.claim_spec(claim.get("spec") or {}, "spec")


def _requested(spec: Obj) -> str:
    amount: str = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    return amount


def _validate_update(new: Obj, old: Obj) -> Errors:
    """Upstream's strategy and its validation of updates each look at the whole claim: faults are told twice."""
    found = _validate(new) * 2
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    annotations, annotations_before = (one.get("metadata", {}).get("annotations") or {} for one in (new, old))
    bound = (new.get("status") or {}).get("phase") == "Bound"
    kept, comparable = _comparable(spec, before, annotations_before, bound=bound)
    moved = _from_annotation(spec, before, annotations, annotations_before)
    if moved:
        kept.pop("storageClassName", None)
    elif annotations.get(STORAGE_CLASS, "") != annotations_before.get(STORAGE_CLASS, ""):
        where = f"metadata.annotations.{STORAGE_CLASS}"
        found.append(errors.invalid(where, annotations.get(STORAGE_CLASS, ""), common.IMMUTABLE))
    if kept != comparable:
        found.append(errors.forbidden("spec", _IMMUTABLE + go_diff.diff(_go_spec(comparable), _go_spec(kept))))
    if quantity.compare(_requested(spec), _requested(before)) < 0:
        capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
        if quantity.compare(_requested(spec), capacity) <= 0:
            found.append(errors.forbidden(_REQUESTED, "field can not be less than status.capacity"))
    found += common.immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    return found + _changed_attributes(spec.get("volumeAttributesClassName"), before.get("volumeAttributesClassName"))


def _comparable(spec: Obj, before: Obj, annotations: Obj, *, bound: bool) -> tuple[Obj, Obj]:
    """Both specs without what may differ: a volume and a class that come once; of a bound claim how much and which
    attributes."""
    new, old = dict(spec), dict(before)
    if not old.get("volumeName"):
        old.pop("volumeName", None)
        if new.get("volumeName"):
            old["volumeName"] = new["volumeName"]
    named = new.get("storageClassName")
    if named is not None and old.get("storageClassName") is None and annotations.get(STORAGE_CLASS, named) == named:
        del new["storageClassName"]
    if bound and (new.get("resources") or {}).get("requests") is not None:
        new["resources"] = {**new["resources"], "requests": {**new["resources"]["requests"]}}
        new["resources"]["requests"]["storage"] = _requested(old)
    if bound and new.get("volumeAttributesClassName") is not None:
        new["volumeAttributesClassName"] = old.get("volumeAttributesClassName")
        if new["volumeAttributesClassName"] is None:
            del new["volumeAttributesClassName"]
    return new, old


def _from_annotation(spec: Obj, before: Obj, annotations: Obj, annotations_before: Obj) -> bool:
    """The class moves from the annotation of old to its field."""
    named = annotations_before.get(STORAGE_CLASS)
    return (
        named is not None
        and before.get("storageClassName") is None
        and spec.get("storageClassName") == named
        and annotations.get(STORAGE_CLASS, named) == named
    )


def _changed_attributes(name: str | None, before: str | None) -> Errors:
    if before is None or name == before:
        return []
    if name is None:
        return [errors.forbidden(_ATTRIBUTES, "update from non-nil value to nil is forbidden")]
    return [] if name else [errors.forbidden(_ATTRIBUTES, "update from non-nil value to an empty string is forbidden")]


def _go_spec(spec: Obj) -> Obj:
    """As upstream's internal type prints."""
    resources = spec.get("resources") or {}
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    return {
        "AccessModes": spec.get("accessModes"),
        "Selector": spec.get("selector"),
        "Resources": {"Limits": resources.get("limits"), "Requests": resources.get("requests")},
        "VolumeName": spec.get("volumeName", ""),
        "StorageClassName": spec.get("storageClassName"),
        "VolumeMode": spec.get("volumeMode"),
        "DataSource": source and _go_source(source),
        "DataSourceRef": reference and {**_go_source(reference), "Namespace": reference.get("namespace")},
        "VolumeAttributesClassName": spec.get("volumeAttributesClassName"),
    }


def _go_source(source: Obj) -> Obj:
    return {"APIGroup": source.get("apiGroup"), "Kind": source.get("kind", ""), "Name": source.get("name", "")}


_RESIZES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)  # fmt: skip


def _validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    found = _whole(status.get("capacity") or {}, "status.capacity")
    path = "status.allocatedResourceStatus"
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        found += _resource_key(name, path)
        if state not in _RESIZES:
            found.append(errors.not_supported(path, name, sorted(_RESIZES)))
    path = "status.allocatedResources"
    for name, amount in (status.get("allocatedResources") or {}).items():
        found += _resource_key(name, path) or _whole({name: amount}, path)
    return found


def _whole(amounts: Obj, path: str) -> Errors:
    return [
        errors.invalid(f"{path}[{name}]", quantity.value(amount), "must be a valid resource quantity")
        for name, amount in amounts.items()
        if quantity.value(amount) < 0
    ]


def _resource_key(name: str, path: str) -> Errors:
    found = common.named(names.qualified_name, name, path)
    if not found and resources.is_native(name) and name != "storage":
        found.append(errors.not_supported(path, name, ("storage",)))
    return found


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    found = [OLD_STORAGE_CLASS] if STORAGE_CLASS in (new.get("metadata", {}).get("annotations") or {}) else []
    given = (new.get("spec") or {}).get("resources") or {}
    for key in ("requests", "limits"):
        amount = (given.get(key) or {}).get("storage", "0")
        if quantity.parse(amount).denominator != 1:
            where = f"spec.resources.{key}[storage]"
            found.append(f"{where}: fractional byte value {errors.quoted(amount)} is invalid, must be an integer")
    return found


def _row(claim: Obj, now: datetime) -> Sequence[Any]:
    spec, status, meta = claim.get("spec") or {}, claim.get("status") or {}, claim.get("metadata", {})
    phase = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    return (
        printing.name(claim),
        phase,
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        short_access_modes(status.get("accessModes")) if bound else "",
        (meta.get("annotations") or {}).get(STORAGE_CLASS, spec.get("storageClassName", "")),
        spec.get("volumeAttributesClassName", printing.UNSET),
        printing.age(claim, now),
        spec.get("volumeMode", printing.UNSET),
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
        ratchets=True,
        validate_status=_validate_status,
        warnings=_warnings,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
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
