"""What a node's protection measures, as a seam: ``meter_linux`` is the real machine, ``meter_memory`` its twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from sampan.api.types import Obj
from sampan.node.eviction.pressure import Observation
from sampan.node.eviction.usage import NOTHING, DiskUsage, PodUsage
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class FileSystem:
    """0: not known."""

    capacity_bytes: int = 0
    available_bytes: int = 0
    inodes: int = 0
    inodes_free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Of the machine at one moment. 0: not known. ``image_fs`` None: images lie on the node's own file system."""

    memory_bytes: int = 0
    #: None: not known
    memory_available_bytes: int | None = None
    node_fs: FileSystem = FileSystem()
    image_fs: FileSystem | None = None
    tasks: int = 0
    task_limit: int = 0
    #: What all pods together have in use; None: nobody counts that.
    pods_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PodDisk:
    """What a pod has on the node's disk, beside its containers' writable layers: logs by container, volumes by name."""

    logs: Mapping[str, DiskUsage] = field(default_factory=dict)
    volumes: Mapping[str, DiskUsage] = field(default_factory=dict)
    other: DiskUsage = NOTHING
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured last: of the machine, and by uid of the pods that there was a reason to measure."""

    readings: Readings = Readings()
    pods: Mapping[str, PodUsage] = field(default_factory=dict)


class Meter(Protocol):
    async def read(self, image_mount: str) -> Readings:
        """``image_mount``: where images lie; "": not known. Raises OSError."""
        ...

    async def pod(self, pod: Obj, *, files: bool = True) -> PodDisk:
        """Bounded in time and in files: what is not counted then is said (``complete``). It never fails. ``files``
        False: those are not counted at all, which takes no time."""
        ...


def observations(readings: Readings, pods_limit_bytes: int) -> dict[str, Observation]:
    """By signal. ``pods_limit_bytes``: what all pods together may use of the memory."""
    found: dict[str, Observation] = {}
    if readings.memory_bytes and readings.memory_available_bytes is not None:
        found["memory.available"] = Observation(readings.memory_available_bytes, readings.memory_bytes)
    if readings.pods_memory_bytes is not None and pods_limit_bytes > 0:
        left = max(pods_limit_bytes - readings.pods_memory_bytes, 0)
        found["allocatableMemory.available"] = Observation(left, pods_limit_bytes)
    images = readings.image_fs or readings.node_fs
    for name, system in (("nodefs", readings.node_fs), ("imagefs", images), ("containerfs", images)):
        if system.capacity_bytes:
            found[f"{name}.available"] = Observation(system.available_bytes, system.capacity_bytes)
        if system.inodes:  # some file systems make them as they are needed
            found[f"{name}.inodesFree"] = Observation(system.inodes_free, system.inodes)
    if readings.tasks and readings.task_limit:
        found["pid.available"] = Observation(readings.task_limit - readings.tasks, readings.task_limit)
    return found
