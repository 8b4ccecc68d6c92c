"""Volumes of a pod: one source each, with the fields that source must have."""

from __future__ import annotations

from collections.abc import Callable

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

#: Every volume source and the fields of it that must not be empty.
SOURCES: dict[str, tuple[str, ...]] = {
    "emptyDir": (),
    "hostPath": ("path",),
    "gitRepo": ("repository",),
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "secret": ("secretName",),
    "nfs": ("server", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "glusterfs": ("endpoints", "path"),
    "persistentVolumeClaim": ("claimName",),
    "rbd": ("monitors", "image"),
    "quobyte": ("registry", "volume"),
    "flexVolume": ("driver",),
    "configMap": ("name",),
    "cinder": ("volumeID",),
    "cephfs": ("monitors",),
    "flocker": (),
    "downwardAPI": (),
    "fc": (),
    "azureFile": ("secretName", "shareName"),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "storageos": ("volumeName",),
    "scaleIO": ("gateway", "system", "volumeName"),
    "projected": (),
    "csi": ("driver",),
    "ephemeral": ("volumeClaimTemplate",),
    "image": ("reference",),
}

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip

_DOWNWARD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")


def _mode(mode: int | None, path: str) -> Errors:
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")]


def _items(source: Obj, path: str) -> Errors:
    found: Errors = []
    for index, item in enumerate(source.get("items") or ()):
        where = f"{path}.items[{index}]"
        found += common.needed(item, where, "key", "path")
        found += local_path(item.get("path", ""), f"{where}.path")
        found += _mode(item.get("mode"), f"{where}.mode")
    return found


def local_path(value: str, path: str) -> Errors:
    """A path inside a volume: relative, does not climb, and does not clash with the writer's own ``..data``."""
    found = common.non_absolute_descending(value, path)
    if not found and value.startswith(".."):
        found.append(errors.invalid(path, value, "must not start with '..'"))
    return found


def field_path_supported(field: str, supported: tuple[str, ...]) -> bool:
    """``metadata.labels['x']`` counts as supported wherever single keys are."""
    if field in supported:
        return True
    base, bracket, rest = field.partition("['")
    return bool(bracket) and base in ("metadata.labels", "metadata.annotations") and rest.endswith("']")


def _downward_items(items: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    for index, item in enumerate(items or ()):
        where = f"{path}[{index}]"
        if not item.get("path"):
            found.append(errors.required(f"{where}.path"))
        found += local_path(item.get("path", ""), f"{where}.path")
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            if resource is not None:
                text = "fieldRef and resourceFieldRef can not be specified simultaneously"
                found.append(errors.invalid(where, "resource", text))
            if not field_path_supported(field.get("fieldPath", ""), _DOWNWARD_FIELDS):
                found.append(
                    errors.not_supported(f"{where}.fieldRef.fieldPath", field.get("fieldPath", ""), _DOWNWARD_FIELDS)
                )
        elif resource is not None:
            found += common.needed(resource, f"{where}.resourceFieldRef", "containerName", "resource")
        else:
            found.append(errors.required(where, "one of fieldRef and resourceFieldRef is required"))
        found += _mode(item.get("mode"), f"{where}.mode")
    return found


def _host_path(source: Obj, path: str) -> Errors:
    found: Errors = []
    if ".." in source.get("path", "").split("/"):
        found.append(errors.invalid(f"{path}.path", source["path"], "must not contain '..'"))
    if source.get("type"):
        found += common.one_of(source["type"], HOST_PATH_TYPES, f"{path}.type")
    return found


def _empty_dir(source: Obj, path: str) -> Errors:
    if source.get("sizeLimit") is not None:
        return common.quantity_value(source["sizeLimit"], f"{path}.sizeLimit")
    return []


def _keyed(source: Obj, path: str) -> Errors:
    """configMap and secret."""
    return _mode(source.get("defaultMode"), f"{path}.defaultMode") + _items(source, path)


def _downward(source: Obj, path: str) -> Errors:
    found = _mode(source.get("defaultMode"), f"{path}.defaultMode")
    return found + _downward_items(source.get("items"), f"{path}.items")


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")


def _projected(source: Obj, path: str) -> Errors:
    found = _mode(source.get("defaultMode"), f"{path}.defaultMode")
    for index, projection in enumerate(source.get("sources") or ()):
        where = f"{path}.sources[{index}]"
        given = [kind for kind in _PROJECTIONS if projection.get(kind) is not None]
        if not given:
            found.append(errors.required(where, "must specify exactly one source"))
            continue
        for extra in given[1:]:
            found.append(errors.forbidden(f"{where}.{extra}", "may not specify more than 1 volume type"))
        found += _projection(given[0], projection[given[0]], f"{where}.{given[0]}")
    return found


def _projection(kind: str, source: Obj, path: str) -> Errors:
    match kind:
        case "secret" | "configMap":
            return common.needed(source, path, "name") + _items(source, path)
        case "downwardAPI":
            return _downward_items(source.get("items"), f"{path}.items")
        case "serviceAccountToken":
            found: Errors = []
            seconds = source.get("expirationSeconds", 3600)
            if seconds < 600:
                text = "may not specify a duration less than 10 minutes"
                found.append(errors.invalid(f"{path}.expirationSeconds", seconds, text))
            if not source.get("path"):
                return [*found, errors.required(f"{path}.path")]
            return found + local_path(source["path"], f"{path}.path")
        case "clusterTrustBundle":
            found = common.needed(source, path, "path")
            if bool(source.get("name")) == bool(source.get("signerName")):
                found.append(errors.required(path, "either name or signerName must be specified"))
            return found
        case _:
            return common.needed(source, path, "signerName", "keyType")


_CHECKS: dict[str, Callable[[Obj, str], Errors]] = {
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "configMap": _keyed,
    "secret": _keyed,
    "downwardAPI": _downward,
    "projected": _projected,
}


def volume_source(holder: Obj, path: str) -> Errors:
    """The source of a volume (``holder`` is the volume, or a PersistentVolume's spec)."""
    given = [kind for kind in SOURCES if holder.get(kind) is not None]
    if not given:
        return [errors.required(path, "must specify a volume type")]
    found: Errors = []
    for index, kind in enumerate(given):
        if index:
            found.append(errors.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type"))
            continue
        source = holder[kind]
        found += common.needed(source, f"{path}.{kind}", *SOURCES[kind])
        if check := _CHECKS.get(kind):
            found += check(source, f"{path}.{kind}")
    return found


def volumes(values: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, volume in enumerate(values or ()):
        where, name = f"{path}[{index}]", volume.get("name", "")
        found += volume_source(volume, where)
        if not name:
            found.append(errors.required(f"{where}.name"))
        else:
            found += common.named(names.dns1123_label, name, f"{where}.name")
            if name in seen:
                found.append(errors.duplicate(f"{where}.name", name))
        seen.add(name)
    return found
