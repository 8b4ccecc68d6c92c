"""One command at a time changes an instance: ``up`` and ``down`` wait for each other.

The kernel drops the lock with its holder, however that ends. The supervisor has a lock of its own, which says that the
instance runs. A third is the machine's: whoever chooses ports and ranges for a new cluster is alone in that. And a
process that leads under the instance's name holds one for each component that it is.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

LOOK_SECONDS = 0.05


class Teller(Protocol):
    def step(self, text: str) -> None: ...


@asynccontextmanager
async def changing(instance: Instance, progress: Teller) -> AsyncIterator[None]:
    """Holds the instance's change lock, after waiting for whoever has it. Raises ClusterError without the right to."""
    async with _holding(lambda: _open(instance), instance.change_lock_file, progress):
        try:
            yield
        finally:
            if not instance.exists():  # purged, or never made: nothing of it stays
                instance.change_lock_file.unlink(missing_ok=True)


@asynccontextmanager
async def _holding(opened: Callable[[], int], path: Path, progress: Teller) -> AsyncIterator[None]:
    descriptor = opened()
    try:
        told = False
        while True:
            taken = _take(descriptor)
            # The one before may have been a purge, which removes the file: then the lock is on nothing.
            if not _is_same_file(descriptor, path):
                os.close(descriptor)
                descriptor = opened()
            elif taken:
                break
            else:
                if not told:
                    progress.step("Waiting for another sampan command on this cluster")
                    told = True
                await asyncio.sleep(LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def choosing(instance: Instance, progress: Teller) -> AsyncIterator[None]:
    """Holds the machine's lock, which is the directory of all instances itself. Raises ClusterError."""
    async with _holding(lambda: _open_directory(instance.state_root), instance.state_root, progress):
        yield


@asynccontextmanager
async def acting(instance: Instance, component: str) -> AsyncIterator[None]:
    """Held by the one process of the instance that acts as this component; returns when the one before it is gone.
    Raises OSError."""
    path = instance.run / f"{component}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _take(descriptor):  # noqa: ASYNC110  # another process lets go of it
            await asyncio.sleep(LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _open_directory(path: Path) -> int:
    try:
        path.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ClusterError(f"cannot write {path}: {error.strerror}", fix="run as root (sudo)") from error


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


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
