"""What a claim's volume has and how much of it is used, as its file system or its driver says: values, and looks at
file systems."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from sampan.node.volumes.apart import in_own_thread
from sampan.records import dataclass

#: a file system that has not answered by then is left to itself
_PATIENCE_SECONDS: Final = 10.0


class Unmeasured(Exception):
    """It could not be learned this time; the message says why."""


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """0: not known, as upstream shows it. ``abnormal`` None: nobody says anything of the volume's health; ``message``
    is what the driver says of it."""

    capacity_bytes: int = 0
    available_bytes: int = 0
    used_bytes: int = 0
    inodes: int = 0
    inodes_free: int = 0
    inodes_used: int = 0
    abnormal: bool | None = None
    message: str = ""

    def without_health(self) -> VolumeUsage:
        return replace(self, abnormal=None, message="")


class Measurement(NamedTuple):
    namespace: str
    claim: str
    usage: VolumeUsage


#: by uid of the pod and name of the volume
Measurements = Mapping[str, Mapping[str, Measurement]]


def of_file_system(path: Path) -> VolumeUsage:
    """Of what ``path`` is on. May hang with a server that does. Raises Unmeasured."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise Unmeasured(f"{path}: {os.strerror(error.errno or 0)}") from None
    block = found.f_frsize
    return VolumeUsage(
        capacity_bytes=found.f_blocks * block,
        available_bytes=found.f_bavail * block,
        used_bytes=(found.f_blocks - found.f_bfree) * block,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
        inodes_used=found.f_files - found.f_ffree,
    )


class FileSystems:
    """Looks at file systems, each look in a thread of its own, so that one that hangs keeps no other from being looked
    at, and nothing else of the node waiting. Invariant: no path has two threads. One event loop."""

    def __init__(
        self, look: Callable[[Path], VolumeUsage] = of_file_system, *, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self._look, self._patience_seconds = look, patience_seconds
        self._asked: set[Path] = set()

    async def look(self, path: Path) -> VolumeUsage:
        """Raises Unmeasured: also when nobody answers, and as long as nobody has answered since."""
        if path in self._asked:
            raise Unmeasured(f"{path}: its file system still does not answer")
        self._asked.add(path)
        work = in_own_thread(lambda: self._look(path), f"look at {path}", lambda: self._asked.discard(path))
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await work
        except TimeoutError:
            raise Unmeasured(f"{path}: its file system does not answer") from None
        except OSError as error:
            raise Unmeasured(error.strerror or str(error)) from None
