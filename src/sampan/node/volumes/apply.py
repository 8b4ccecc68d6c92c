"""The thin part that acts: makes one volume's ``Setup`` so. Synchronous file work, run in a thread by the manager."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path

from sampan.node.volumes.atomic import write_payload
from sampan.node.volumes.hostpath import check_host_path
from sampan.node.volumes.mount import Mounter
from sampan.node.volumes.ownership import Ownership, set_ownership
from sampan.node.volumes.setup import FilesSetup, HostSetup, ScratchSetup, Setup

_ANYONE = 0o777


def apply_setup(setup: Setup, directory: Path, ownership: Ownership, mounter: Mounter, now: datetime) -> Path:
    """Returns where the volume is. Idempotent. Raises OSError, SetupError."""
    if isinstance(setup, HostSetup):
        check_host_path(setup.path, setup.type)
        if setup.owned:
            set_ownership(setup.path, ownership, read_only=setup.read_only)
        return setup.path
    fresh = _make_directory(directory)
    if setup.memory:
        mounter.mount_tmpfs(directory, setup.size_bytes if isinstance(setup, ScratchSetup) else None)
    if fresh:  # once: afterwards owner and mode are the pod's own business
        _open_to_pod(directory, ownership.fs_group)
    if isinstance(setup, FilesSetup):
        write_payload(directory, setup.payload, now, lambda new: set_ownership(new, ownership, read_only=True))
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
