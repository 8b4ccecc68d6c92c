"""One command at a time changes an instance: ``up`` and ``down`` wait for each other.

The kernel drops the lock with its holder, however that ends. The supervisor has a lock of its own, which says that the
instance runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

LOOK_SECONDS = 0.05


class Teller(Protocol):
    def step(self, text: str) -> None: ...


@asynccontextmanager
async def changing(instance: Instance, progress: Teller) -> AsyncIterator[None]:
    """Holds the instance's change lock, after waiting for whoever has it. Raises ClusterError without the right to."""
    descriptor = _open(instance)
    try:
        told = False
        while True:
            taken = _take(descriptor)
            # The one before may have been a purge, which removes the file: then the lock is on nothing.
            if not _is_same_file(descriptor, instance):
                os.close(descriptor)
                descriptor = _open(instance)
            elif taken:
                break
            else:
                if not told:
                    progress.step("Waiting for another sampan command on this cluster")
                    told = True
                await asyncio.sleep(LOOK_SECONDS)
        yield
    finally:
        if not instance.exists():  # purged, or never made: nothing of it stays
            instance.change_lock_file.unlink(missing_ok=True)
        os.close(descriptor)


def _open(instance: Instance) -> int:
    path = instance.change_lock_file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ClusterError(f"cannot write {path}: {error.strerror}", fix="run as root (sudo)") from error


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(descriptor: int, instance: Instance) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), instance.change_lock_file.stat())
    except FileNotFoundError:
        return False
