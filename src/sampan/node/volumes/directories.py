"""The directory of a volume below its pod's, with or without a tmpfs on it. Synchronous; for plug-ins."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sampan.node.volumes.plugin import Place

_ANYONE = 0o777


def make(place: Place, *, memory: bool, size_bytes: int | None = None, page_bytes: int = 0) -> Path:
    """The volume's directory, open to the pod; ``page_bytes``: its memory is of huge pages of this size. Idempotent.
    Raises OSError, SetupError."""
    directory = place.target
    fresh = _make_directory(directory)
    if memory and page_bytes:
        bound = [f"size={size_bytes}"] if size_bytes else []
        place.mounter.mount("nodev", directory, "hugetlbfs", [f"pagesize={page_bytes}", *bound, "nosuid", "nodev"])
    elif memory:
        place.mounter.mount_tmpfs(directory, size_bytes)
    if fresh:  # once: afterwards owner and mode are the pod's own business
        _open_to_pod(directory, place.ownership.fs_group)
    return directory


def _make_directory(directory: Path) -> bool:
    """True when it still has to be opened to the pod: until then it has no mode at all, so a crash shows."""
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    try:
        directory.mkdir(mode=0)
    except FileExistsError:
        pass  # by an earlier call
    return stat.S_IMODE(directory.stat().st_mode) == 0


def _open_to_pod(directory: Path, fs_group: int | None) -> None:
    if fs_group is not None:
        os.chown(directory, -1, fs_group)
    directory.chmod(_ANYONE if fs_group is None else _ANYONE | stat.S_ISGID)
