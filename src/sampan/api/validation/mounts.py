"""Where a container mounts volumes and sees devices."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_PROPAGATION: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE: Final = ("Disabled", "Enabled", "IfPossible")


def mounts(container: Obj, path: str, volumes: dict[str, Obj]) -> Errors:
    """``volumes``: those without faults. Paths of some messages are of the list: so it is upstream."""
    found: Errors = []
    seen: set[str] = set()
    devices = container.get("volumeDevices") or ()
    taken = {device.get("name", "") for device in devices}, {device.get("devicePath", "") for device in devices}
    listed = f"{path}.volumeMounts"
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        name, mount_path = mount.get("name", ""), mount.get("mountPath", "")
        where = f"{listed}[{index}]"
        if not name:
            found.append(errors.required(f"{where}.name"))
        if name not in volumes:
            found.append(errors.not_found_value(f"{where}.name", name))
        if not mount_path:
            found.append(errors.required(f"{where}.mountPath"))
        if mount_path in seen:
            found.append(errors.invalid(f"{where}.mountPath", mount_path, "must be unique"))
        seen.add(mount_path)
        if devices:
            found += _beside_devices(name, mount_path, taken, where)
        if len(mount) > 2:
            found += _sub_path(mount, where, listed)
            found += _propagation(mount, container, listed)
    return found


def _beside_devices(name: str, path: str, taken: tuple[Set[str], Set[str]], where: str) -> Errors:
    """``taken``: the names and the paths of devices."""
    names, paths = taken
    found: Errors = []
    if name in names:
        found.append(errors.invalid(f"{where}.name", name, "must not already exist in volumeDevices"))
    if path in paths:
        text = "must not already exist as a path in volumeDevices"
        found.append(errors.invalid(f"{where}.mountPath", path, text))
    return found


def _sub_path(mount: Obj, path: str, listed: str) -> Errors:
    found: Errors = []
    sub_path, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
    if sub_path:
        found += common.non_absolute_descending(sub_path, f"{listed}.subPath")
    if expression:
        if sub_path:
            text = "subPathExpr and subPath are mutually exclusive"
            found.append(errors.invalid(f"{path}.subPathExpr", expression, text))
        found += common.non_absolute_descending(expression, f"{listed}.subPathExpr")
    return found


def _propagation(mount: Obj, container: Obj, path: str) -> Errors:
    mode, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    found: Errors = []
    if mode is not None and mode not in _PROPAGATION:
        found.append(errors.not_supported(f"{path}.mountPropagation", mode, _PROPAGATION))
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        text = "Bidirectional mount propagation is available only to privileged containers"
        found.append(errors.forbidden(f"{path}.mountPropagation", text))
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            text = "may only be specified when readOnly is true"
            found.append(errors.forbidden(f"{path}.recursiveReadOnly", text))
        if mode not in (None, "None"):
            text = "may only be specified when mountPropagation is None or not specified"
            found.append(errors.forbidden(f"{path}.recursiveReadOnly", text))
    elif recursive not in (None, "Disabled"):
        found.append(errors.not_supported(f"{path}.recursiveReadOnly", recursive, _RECURSIVE))
    return found


def devices(container: Obj, path: str, volumes: dict[str, Obj]) -> Errors:
    listed = container.get("volumeDevices")
    if not listed:
        return []
    found: Errors = []
    mounts = container.get("volumeMounts") or ()
    mounted, mounted_at = {mount.get("name", "") for mount in mounts}, {mount.get("mountPath", "") for mount in mounts}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, device in enumerate(listed):
        where = f"{path}.volumeDevices[{index}]"
        name, device_path = device.get("name", ""), device.get("devicePath", "")
        found += _named_device(name, f"{where}.name", volumes, repeated=name in seen_names)
        if not device_path:
            found.append(errors.required(f"{where}.devicePath"))
        if device_path in seen_paths:
            found.append(errors.invalid(f"{where}.devicePath", device_path, "must be unique"))
        if ".." in device_path.split("/"):
            found.append(errors.invalid(f"{where}.devicePath", device_path, "can not contain backsteps ('..')"))
        else:
            seen_paths.add(device_path)
        if name in mounted:
            found.append(errors.invalid(f"{where}.name", name, "must not already exist in volumeMounts"))
        if device_path in mounted_at:
            text = "must not already exist as a path in volumeMounts"
            found.append(errors.invalid(f"{where}.devicePath", device_path, text))
        if name:
            seen_names.add(name)
    return found


def _named_device(name: str, path: str, volumes: dict[str, Obj], *, repeated: bool) -> Errors:
    found: Errors = []
    if not name:
        found.append(errors.required(path))
    if repeated:
        found.append(errors.invalid(path, name, "must be unique"))
    volume = volumes.get(name)
    if volume is None:
        found.append(errors.not_found_value(path, name))
    elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
        text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        found.append(errors.invalid(path, name, text))
    return found
