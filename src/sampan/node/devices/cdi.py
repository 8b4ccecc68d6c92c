"""Container Device Interface: what a device's name means for a container, from the files of vendors.

The node resolves names itself, so that it works below runtimes that do not know them. Source: the CDI specification
(cncf-tags/container-device-interface, SPEC.md). Synchronous; every file is read anew, for vendors change them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.devices.interface import Given

#: those later in the list win
DIRECTORIES: Final = (Path("/etc/cdi"), Path("/var/run/cdi"))
_MOST_FILES = 1024
_LARGEST_FILE = 4 << 20
#: of ``containerEdits``: what only the runtime could do
_BEYOND = ("hooks", "intelRdt", "netDevices", "additionalGids")


def resolve(names: Sequence[str], directories: Iterable[Path] = DIRECTORIES) -> Given:
    """Devices by their qualified names, ``vendor.com/class=device``. Raises ValueError: one is not known or asks for
    what only a runtime with CDI could do."""
    if not names:
        return Given()
    edits: dict[str, list[Obj]] = {}
    common: dict[str, Obj] = {}
    for specification in _specifications(directories):
        kind = text(specification, "kind")
        for device in parts(specification, "devices"):
            name = f"{kind}={text(device, 'name')}"
            edits[name] = [part(device, "containerEdits")]
            common[name] = part(specification, "containerEdits")
    wanted: list[Obj] = []
    missing = [name for name in names if name not in edits]
    if missing:
        raise ValueError(f"unresolvable CDI devices {', '.join(missing)}")
    for name in names:
        if common[name] not in wanted:
            wanted.append(common[name])
        wanted += edits[name]
    return _given(wanted)


def merged(*all_: Given) -> Given:
    """Of two that name one thing the first counts."""
    environment: dict[str, str] = {}
    annotations: dict[str, str] = {}
    mounts: dict[str, runtime.Mount] = {}
    devices: dict[str, runtime.Device] = {}
    for each in all_:
        environment = {**each.environment, **environment}
        annotations = {**each.annotations, **annotations}
        for mount in each.mounts:
            mounts.setdefault(mount.container_path, mount)
        for device in each.devices:
            devices.setdefault(device.container_path, device)
    return Given(
        environment=environment,
        mounts=tuple(mounts.values()),
        devices=tuple(devices.values()),
        annotations=annotations,
    )


def _given(wanted: Iterable[Obj]) -> Given:
    environment: dict[str, str] = {}
    mounts: list[runtime.Mount] = []
    devices: list[runtime.Device] = []
    for edits in wanted:
        beyond = [name for name in _BEYOND if edits.get(name)]
        if beyond:
            raise ValueError(f"CDI devices that need a runtime with CDI (they ask for {', '.join(beyond)})")
        for variable in texts(edits, "env"):
            name, _, value = variable.partition("=")
            environment[name] = value
        for node in parts(edits, "deviceNodes"):
            path = text(node, "path")
            devices.append(runtime.Device(text(node, "hostPath") or path, path, text(node, "permissions") or "rwm"))
        for mount in parts(edits, "mounts"):
            readonly = "ro" in texts(mount, "options")
            mounts.append(runtime.Mount(text(mount, "hostPath"), text(mount, "containerPath"), readonly=readonly))
    return merged(Given(environment=environment, mounts=tuple(mounts), devices=tuple(devices)))


def _specifications(directories: Iterable[Path]) -> Iterable[Obj]:
    """What cannot be read is passed over: it is another vendor's fault."""
    for directory in directories:
        with contextlib.suppress(OSError):
            for path in sorted(directory.iterdir())[:_MOST_FILES]:
                if path.suffix in (".json", ".yaml", ".yml") and (found := _read(path)) is not None:
                    yield found


def _read(path: Path) -> Obj | None:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            return None
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        found: Any = orjson.loads(content) if path.suffix == ".json" else yaml.load(content, Loader=loader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) else None
