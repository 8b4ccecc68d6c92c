"""A machine in memory, measured: what a test or a simulation says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.api.types import Obj
from sampan.node.eviction.meter import FileSystem, PodDisk, Readings
from sampan.node.host import Disk, Load, Machine


class MemoryMeter:
    def __init__(self, machine: Callable[[], Machine], load: Callable[[], Load], disk: Callable[[], Disk]) -> None:
        self._machine, self._load, self._disk = machine, load, disk
        #: by uid
        self.pods: dict[str, PodDisk] = {}
        self.pods_memory_bytes: int | None = None
        self.image_fs: FileSystem | None = None
        #: how long counting one pod's files takes, and whose were counted
        self.count_seconds = 0.0
        self.counted: list[str] = []

    async def read(self, image_mount: str) -> Readings:
        load, disk = self._load(), self._disk()
        return Readings(
            memory_bytes=self._machine().memory_bytes,
            memory_available_bytes=load.memory_available_bytes,
            node_fs=FileSystem(disk.total_bytes, disk.free_bytes, disk.inodes, disk.inodes_free),
            image_fs=self.image_fs,
            tasks=load.tasks,
            task_limit=load.task_limit,
            pods_memory_bytes=self.pods_memory_bytes,
        )

    async def pod(self, pod: Obj, *, files: bool = True) -> PodDisk:
        found = self.pods.get(pod["metadata"]["uid"], PodDisk())
        if not files:
            return PodDisk(processes=found.processes)
        self.counted.append(pod["metadata"]["name"])
        await asyncio.sleep(self.count_seconds)
        return found
