"""hostPath: paths of the machine, with upstream's type checks and texts (pkg/volume/hostpath)."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.node.plugins.paths import KUBELET, on_machine
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.lanes import PATHS
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.records import Record
from sampan.records import dataclass

_CHECKS = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath(Prepared):
    """A path that belongs to the machine: used where it is, never created under the pod and never deleted."""

    path: Path
    type: str = ""


class HostPathPlugin(VolumePlugin[HostPath]):
    name = "kubernetes.io/host-path"

    def __init__(self, root: Path = KUBELET) -> None:
        """``root``: the node's own, which pods know as the kubelet's."""
        self._root = root

    def lane(self, data: Mapping[str, str]) -> str:
        return PATHS

    async def prepare(self, volume: Obj, context: Context) -> HostPath:
        source = volume["hostPath"]
        return HostPath(path=on_machine(Path(source["path"]), self._root), type=source.get("type") or "")

    def publish(self, prepared: HostPath, place: Place) -> Path:
        if place.before != prepared.path:  # else it was checked when the pod began: a refresh has nothing to add
            check_host_path(prepared.path, prepared.type)
        return prepared.path

    def unpublish(self, record: Record, place: Place) -> None:
        """Nothing was done: the path is the machine's, with whatever is mounted there."""


def _make_directory(path: Path) -> None:
    """Raises SetupError."""
    try:
        path.mkdir(parents=True, mode=0o755, exist_ok=True)
        path.chmod(0o755)
    except OSError as error:
        raise SetupError(fault(error, "mkdir")) from error


def check_host_path(path: Path, kind: str) -> None:
    """Creates it for the ``...OrCreate`` types. Raises SetupError with upstream's words, OSError."""
    if ".." in path.parts:
        raise SetupError(f"hostPath {path} must not contain '..'")
    if kind == "":
        return  # the runtime makes a missing directory
    if kind not in _CHECKS:
        raise SetupError(f"hostPath type check failed: {kind} is an invalid volume type")
    is_right, complaint = _CHECKS[kind]
    if not path.exists():
        if kind == "DirectoryOrCreate":
            _make_directory(path)
        elif kind == "FileOrCreate":
            path.touch(mode=0o644)
            path.chmod(0o644)
        else:
            raise SetupError(f"hostPath type check failed: {path} {complaint}")
    if not is_right(path.stat().st_mode):
        raise SetupError(f"hostPath type check failed: {path} {complaint}")
