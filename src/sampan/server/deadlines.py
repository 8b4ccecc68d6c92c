"""The time that a request may take, kept for all of them by one timer.

A timer a request would cost more than many requests do. Deadlines are looked at once a second; so a request may take
up to a second more than it should, which nobody notices of a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

TICK_SECONDS: Final = 1.0


class Deadlines:
    """Invariant: ``_due`` holds the tasks that are inside ``within``, each with its moment on the loop's clock."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[object], float] = {}
        self._expired: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """The result of ``work``. Raises TimeoutError when it takes longer; it is cancelled then."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None or task in self._due or seconds < 2 * TICK_SECONDS:
            async with asyncio.timeout(seconds):
                return await work
        self._due[task] = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_later(TICK_SECONDS, self._tick, loop)
        try:
            return await work
        except asyncio.CancelledError as error:
            if task in self._expired and task.uncancel() == 0:
                raise TimeoutError from error
            raise  # somebody else cancelled it, too: the client has gone
        finally:
            del self._due[task]
            self._expired.discard(task)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, due in self._due.items():
            if due <= now and task not in self._expired:
                self._expired.add(task)
                task.cancel()
        self._timer = loop.call_later(TICK_SECONDS, self._tick, loop) if self._due else None
