"""The thin part that acts: makes one volume's ``Setup`` so. Synchronous file work, run in a thread by the manager."""

from __future__ import annotations

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
    fresh = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    if setup.memory:
        mounter.mount_tmpfs(directory, setup.size_bytes if isinstance(setup, ScratchSetup) else None)
    if fresh:  # later the mode is the pod's own business
        directory.chmod(_ANYONE)
    if isinstance(setup, FilesSetup):
        write_payload(directory, setup.payload, now, lambda new: set_ownership(new, ownership, read_only=True))
    elif fresh or not ownership.on_root_mismatch:
        set_ownership(directory, ownership)
    return directory
