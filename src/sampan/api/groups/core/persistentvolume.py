"""PersistentVolume (v1): defaults, validation, columns. Its sources have a module of their own."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names, quantity
from sampan.api.groups import printing
from sampan.api.groups.core import persistentvolume_sources
from sampan.api.groups.core.persistentvolumeclaim import (
    ACCESS_MODES,
    OLD_STORAGE_CLASS,
    STORAGE_CLASS,
    short_access_modes,
)
from sampan.api.groups.core.pod_defaults import default_legacy_sources, default_resource_list, default_volume
from sampan.api.groups.core.pod_warnings import NODE_LABELS
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, scheduling
from sampan.api.validation.common import Errors

_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_MODES = ("Block", "Filesystem")
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_WITH_MOUNT_OPTIONS = frozenset((
    "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "iscsi", "cephfs", "cinder", "csi",
    "azureFile", "azureDisk", "vsphereVolume", "photonPersistentDisk", "quobyte", "storageos",
))  # fmt: skip


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
    """Its first phase begins when it is made."""
    volume["status"] = {"phase": "Pending"}
    if made := volume.get("metadata", {}).get("creationTimestamp"):
        volume["status"]["lastPhaseTransitionTime"] = made


def _validate(volume: Obj) -> Errors:
    return _check(volume, {})


def _check(volume: Obj, old: Obj) -> Errors:
    spec, meta = volume.get("spec") or {}, volume.get("metadata", {})
    found = _access_modes(spec.get("accessModes") or []) + _capacity(spec.get("capacity") or {})
    policy = spec.get("persistentVolumeReclaimPolicy")
    found += common.one_of(policy, _RECLAIM_POLICIES, "spec.persistentVolumeReclaimPolicy")
    if (affinity := spec.get("nodeAffinity")) is not None:
        found += _node_affinity(affinity, (old.get("spec") or {}).get("nodeAffinity") or {})
    found += persistentvolume_sources.source(spec, meta.get("name", ""))
    host_path = spec.get("hostPath")
    if host_path and policy == "Recycle" and posixpath.normpath(host_path.get("path", "")) in ("/", "//"):
        text = "may not be 'recycle' for a hostPath mount of '/'"
        found.append(errors.forbidden("spec.persistentVolumeReclaimPolicy", text))
    found += _classes(spec)
    if _MOUNT_OPTIONS in (meta.get("annotations") or {}) and not _WITH_MOUNT_OPTIONS & spec.keys():
        where = f"metadata.annotations.{_MOUNT_OPTIONS}"
        found.append(errors.forbidden(where, "may not specify mount options for this volume type"))
    return found


def _access_modes(modes: list[str]) -> Errors:
    path = "spec.accessModes"
    found: Errors = [] if modes else [errors.required(path)]
    found += [errors.not_supported(path, mode, sorted(ACCESS_MODES)) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        found.append(errors.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return found


def _capacity(capacity: Obj) -> Errors:
    path = "spec.capacity"
    found: Errors = [] if capacity else [errors.required(path)]
    if capacity.keys() != {"storage"}:
        found.append(errors.not_supported(path, capacity or errors.NIL, ("storage",)))
    for name, amount in capacity.items():
        whole = quantity.value(amount)
        if whole < 0:
            found.append(errors.invalid(f"{path}[{name}]", whole, "must be a valid resource quantity"))
        if quantity.compare(amount, "0") <= 0:
            found.append(errors.invalid(f"{path}[{name}]", amount, "must be greater than zero"))
    return found


def _node_affinity(affinity: Obj, before: Obj) -> Errors:
    required = affinity.get("required")
    if required is None:
        return [errors.required("spec.nodeAffinity.required", "must specify required node constraints")]
    known = before.get("required")
    lenient = known is not None and scheduling.node_selector(known, "") != scheduling.node_selector(
        known, "", any_value=True
    )
    return scheduling.node_selector(required, "spec.nodeAffinity.required", any_value=lenient)


def _classes(spec: Obj) -> Errors:
    found: Errors = []
    if spec.get("storageClassName"):
        found += common.named(names.dns1123_subdomain, spec["storageClassName"], "spec.storageClassName")
    if (mode := spec.get("volumeMode")) is not None and mode not in _MODES:
        found.append(errors.not_supported("spec.volumeMode", mode, _MODES))
    if (name := spec.get("volumeAttributesClassName")) is not None:
        path = "spec.volumeAttributesClassName"
        if name:
            found += common.named(names.dns1123_subdomain, name, path)
        else:
            found.append(errors.required(path, "an empty string is disallowed"))
        if spec.get("csi") is None:
            found.append(errors.required("spec.csi", "has to be specified when using volumeAttributesClassName"))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    """Upstream's strategy and its validation of updates each look at the whole volume: faults are told twice."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found = _check(new, old) * 2
    found += persistentvolume_sources.changes(spec, before)
    found += common.immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    if (affinity := before.get("nodeAffinity")) is not None:
        found += _changed_affinity(spec.get("nodeAffinity"), affinity)
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        text = "update from non-nil value to nil is forbidden"
        found.append(errors.forbidden("spec.volumeAttributesClassName", text))
    return found


#: labels of nodes that may give way to their later names
_LATER_NAMES = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _changed_affinity(affinity: Obj | None, before: Obj) -> Errors:
    if affinity == before or (affinity is not None and _renamed(affinity, before)):
        return []
    shown = None if affinity is None else {"Required": _go_selector(affinity.get("required"))}
    text = f"{common.IMMUTABLE}, except for updating from beta label to GA"
    return [errors.invalid("nodeAffinity", shown, text)]


def _renamed(new: object, old: object) -> bool:
    """The same, but for keys that give way to their later names."""
    if isinstance(new, dict) and isinstance(old, dict):
        return new.keys() == old.keys() and all(
            _renamed(value, old[key]) or (key == "key" and value == _LATER_NAMES.get(old[key]))
            for key, value in new.items()
        )
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(map(_renamed, new, old))
    return new == old


def _go_selector(selector: Obj | None) -> Obj | None:
    if selector is None:
        return None
    terms = selector.get("nodeSelectorTerms")
    return {"NodeSelectorTerms": terms and [go_values.struct(term, go_values.NODE_SELECTOR_TERM) for term in terms]}


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    spec = new.get("spec") or {}
    found: list[str] = []
    if STORAGE_CLASS in (new.get("metadata", {}).get("annotations") or {}):
        found.append(OLD_STORAGE_CLASS)
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
            "approach is to use dynamic provisioning."
        )
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    for index, term in enumerate(terms):
        for position, requirement in enumerate(term.get("matchExpressions") or ()):
            if text := NODE_LABELS.get(requirement.get("key", "")):
                where = f"spec.nodeAffinity.required.nodeSelectorTerms[{index}].matchExpressions[{position}].key"
                found.append(f"{where}: {requirement['key']} is {text}")
    return found + [
        f"spec.{where}: {text}" for kind, (where, text) in _OLD_SOURCES.items() if spec.get(kind) is not None
    ]


_OLD_SOURCES = {
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "photonPersistentDisk": ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}


def _row(volume: Obj, now: datetime) -> Sequence[Any]:
    spec, status = volume.get("spec") or {}, volume.get("status") or {}
    claim, meta = spec.get("claimRef"), volume.get("metadata", {})
    terminating = meta.get("deletionTimestamp")
    return (
        printing.name(volume),
        (spec.get("capacity") or {}).get("storage", "0"),
        short_access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if terminating else status.get("phase", ""),
        "" if claim is None else f"{claim.get('namespace', '')}/{claim.get('name', '')}",
        (meta.get("annotations") or {}).get(STORAGE_CLASS, spec.get("storageClassName", "")),
        spec.get("volumeAttributesClassName", printing.UNSET),
        status.get("reason", ""),
        printing.age(volume, now),
        spec.get("volumeMode", printing.UNSET),
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
        ratchets=True,
        warnings=_warnings,
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
