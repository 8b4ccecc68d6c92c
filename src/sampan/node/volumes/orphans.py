"""What pods left that nobody knows any more: taken down a few at a time, and nobody waits long for it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sampan.client import tasks
from sampan.node.volumes.errors import VolumeError

log = logging.getLogger(__name__)

_AT_ONCE: Final = 8
_WAIT_SECONDS: Final = 10.0


class Orphans:
    def __init__(self) -> None:
        self._leaving: dict[str, asyncio.Task[bool]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def clear(self, names: Iterable[str], remove: Callable[[str], Awaitable[None]]) -> list[str]:
        """Those that are gone when this returns. One that is being removed since an earlier call is not begun again."""
        for name in names:
            if name not in self._leaving:
                task = tasks.detach(self._remove(name, remove), f"orphan {name}")
                self._leaving[name] = task
                task.add_done_callback(functools.partial(self._gone, name))
        waiting = dict(self._leaving)
        if not waiting:
            return []
        done, _ = await asyncio.wait(waiting.values(), timeout=_WAIT_SECONDS)
        return [name for name, task in waiting.items() if task in done and not task.cancelled() and task.result()]

    async def close(self) -> None:
        await tasks.cancel_and_wait(*self._leaving.values())

    def _gone(self, name: str, task: asyncio.Task[bool]) -> None:
        self._leaving.pop(name, None)

    async def _remove(self, name: str, remove: Callable[[str], Awaitable[None]]) -> bool:
        async with self._slots:
            try:
                await remove(name)
            except VolumeError as error:
                log.warning("orphaned pod %s: %s", name, error)
                return False
        return True
