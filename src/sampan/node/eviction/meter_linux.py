"""Measures the real machine. Files are counted in one thread of its own, within bounds of time and number.

A pod can make directories of any size and depth, so nothing here follows a link, leaves the file system, recurses, or
goes on for ever. A file with several names counts once.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import TypeVar

from sampan.api.types import Obj
from sampan.node.config import NodeConfig
from sampan.node.eviction.meter import FileSystem, PodDisk, Readings
from sampan.node.eviction.usage import NOTHING, DiskUsage, local_volumes
from sampan.node.host import Load
from sampan.node.volumes import layout

#: Of one directory: enough for two million small files on an idle machine.
_SECONDS = 5.0
_FILES = 1_000_000
_BLOCK = 512
_FOLDERS = {"emptyDir": "kubernetes.io~empty-dir", "configMap": "kubernetes.io~configmap"}

R = TypeVar("R")


class LinuxMeter:
    def __init__(
        self,
        config: NodeConfig,
        load: Callable[[], Load],
        memory_bytes: int,
        pods_memory: Callable[[], int | None],
        processes: Callable[[Obj], int],
    ) -> None:
        """``pods_memory`` and ``processes`` read the cgroups of all pods, and of one."""
        self._config = config
        self._load, self._memory_bytes = load, memory_bytes
        self._pods_memory, self._processes = pods_memory, processes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sampan-meter")

    async def read(self, image_mount: str) -> Readings:
        return await self._aside(lambda: self._read(image_mount))

    async def pod(self, pod: Obj, *, files: bool = True) -> PodDisk:
        return await self._aside(lambda: self._pod(pod) if files else PodDisk(processes=self._processes(pod)))

    async def _aside(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _read(self, image_mount: str) -> Readings:
        load, root = self._load(), self._config.root_dir
        image_fs = None
        if image_mount and Path(image_mount).stat().st_dev != root.stat().st_dev:
            image_fs = file_system(Path(image_mount))
        return Readings(
            memory_bytes=self._memory_bytes,
            memory_available_bytes=load.memory_available_bytes,
            node_fs=file_system(root),
            image_fs=image_fs,
            tasks=load.tasks,
            task_limit=load.task_limit,
            pods_memory_bytes=self._pods_memory(),
        )

    def _pod(self, pod: Obj) -> PodDisk:
        meta, config = pod["metadata"], self._config
        log_root = config.pod_log_dir(meta["namespace"], meta["name"], meta["uid"])
        return PodDisk(
            {name: count_files(log_root / name) for name in _names(log_root)},
            {
                name: count_files(layout.volume_directory(config.root_dir, meta["uid"], _FOLDERS[kind], name))
                for name, kind in local_volumes(pod)
            },
            count_files(config.pod_dir(meta["uid"]) / "etc-hosts"),
            self._processes(pod),
        )


def file_system(path: Path) -> FileSystem:
    """Of what ``path`` is on, as much of it as a user may fill. Raises OSError."""
    found = os.statvfs(path)
    return FileSystem(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_ffree)


def count_files(path: Path, *, seconds: float = _SECONDS, files: int = _FILES) -> DiskUsage:
    """A file, or a directory with all below it on the same file system. What goes away meanwhile is left out."""
    try:
        root = path.lstat()
    except OSError:
        return NOTHING
    used, inodes, end = root.st_blocks * _BLOCK, 1, monotonic() + seconds
    if not stat.S_ISDIR(root.st_mode):
        return DiskUsage(used, inodes)
    seen: set[int] = set()
    waiting = [os.fspath(path)]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if status.st_dev != root.st_dev or (status.st_nlink > 1 and status.st_ino in seen):
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
                elif status.st_nlink > 1:
                    seen.add(status.st_ino)
                used, inodes = used + status.st_blocks * _BLOCK, inodes + 1
                if inodes >= files or (inodes % 256 == 0 and monotonic() >= end):
                    return DiskUsage(used, inodes, complete=False)
    return DiskUsage(used, inodes)


def _names(path: Path) -> list[str]:
    try:
        return sorted(each.name for each in path.iterdir())
    except OSError:
        return []
