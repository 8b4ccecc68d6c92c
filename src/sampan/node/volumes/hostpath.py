"""hostPath: a path of the machine, with upstream's type checks and texts (pkg/volume/hostpath)."""

from __future__ import annotations

import stat
from pathlib import Path

from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.setup import Context, HostSetup, Setup

_CHECKS = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


async def prepare(volume: Obj, context: Context) -> Setup:
    source = volume["hostPath"]
    return HostSetup(Path(source["path"]), source.get("type") or "")


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
