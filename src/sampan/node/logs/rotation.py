"""Keeping container logs small: by default rotate at 10 MiB, keep 5 files; all but the newest two are compressed.

The node agent runs ``LogRotator.run`` in its TaskGroup. Names and order as upstream's container log manager:
``0.log``, ``0.log.20260301-120000``, ``0.log.20260301-110000.gz``. A crash at any point loses no line.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from sampan.api.clock import Clock
from sampan.node.logs.paths import container_log
from sampan.node.logs.segments import open_segment, rotated_names
from sampan.node.runtime import (
    CONTAINER_NAME_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    PodRuntime,
    RuntimeCallError,
)
from sampan.node.safepath import UnsafePath

log = logging.getLogger(__name__)

MAX_BYTES = 10 << 20
MAX_FILES = 5
PERIOD_SECONDS = 10.0

#: (container id, path of its log) of every running container
RunningLogs = Callable[[], Awaitable[Iterable[tuple[str, Path]]]]


def runtime_logs(runtime: PodRuntime, root: Path) -> RunningLogs:
    """Finds the running containers' logs by the runtime's labels, in upstream's layout below ``root``."""

    async def running() -> list[tuple[str, Path]]:
        found = []
        for each in await runtime.list_containers():
            labels = each.labels
            if each.state == "running" and POD_UID_LABEL in labels:
                path = container_log(
                    root,
                    labels[POD_NAMESPACE_LABEL],
                    labels[POD_NAME_LABEL],
                    labels[POD_UID_LABEL],
                    labels[CONTAINER_NAME_LABEL],
                    each.attempt,
                )
                found.append((each.id, path))
        return found

    return running


class LogRotator:
    """``reopen(container_id)`` is the runtime's ReopenContainerLog."""

    def __init__(
        self,
        reopen: Callable[[str], Awaitable[None]],
        clock: Clock,
        *,
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        """``max_bytes`` 0: logs are left to grow."""
        self._reopen = reopen
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._period_seconds = period_seconds

    async def run(self, running: RunningLogs) -> None:
        """Looks at the size of each log again and again, as upstream; returns only when cancelled."""
        while True:
            await asyncio.sleep(self._period_seconds)
            try:
                logs = list(await running())
            except RuntimeCallError as error:
                log.warning("log rotation: %s", error)
                continue
            for container_id, path in logs:
                try:
                    await self.rotate_if_large(container_id, path)
                except (OSError, UnsafePath, RuntimeCallError) as error:
                    log.warning("rotation of %s: %s", path, error)

    async def rotate_if_large(self, container_id: str, path: Path) -> bool:
        """Raises OSError, UnsafePath, RuntimeCallError; then the log is where it was."""
        try:
            if self._max_bytes <= 0 or path.lstat().st_size < self._max_bytes:
                return False
        except FileNotFoundError:
            return False
        await asyncio.to_thread(_tidy, path, self._max_files - 2)
        rotated = path.with_name(f"{path.name}.{self._clock.now():%Y%m%d-%H%M%S}")
        path.rename(rotated)
        try:
            await self._reopen(container_id)
        except BaseException:
            rotated.rename(path)  # the runtime still writes to it: keep the name true
            raise
        return True


def _tidy(path: Path, keep: int) -> None:
    """Leaves the newest ``keep`` rotated files, compressed."""
    directory = path.parent
    for leftover in directory.glob(f"{path.name}.*.tmp"):
        leftover.unlink()
    names = rotated_names(directory, path.name)
    for name in names[: max(0, len(names) - keep)]:
        (directory / name).unlink()
        (directory / f"{name}.gz").unlink(missing_ok=True)
    for name in names[max(0, len(names) - keep) :]:
        if not name.endswith(".gz"):
            _compress(directory, name)


def _compress(directory: Path, name: str) -> None:
    temporary = directory / f"{name}.gz.tmp"
    with (
        open_segment(directory, name) as source,
        os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as target,
    ):
        shutil.copyfileobj(source, target)
    temporary.rename(directory / f"{name}.gz")
    (directory / name).unlink()
