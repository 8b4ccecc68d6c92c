"""Work that outlives the call that asked for it: a caller that comes back finds it going on, or done.

Callers of a driver give up after their own time and ask again; a copy that began anew each time would never be done.
One event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Jobs:
    """At most one piece of work for a key at a time."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def join(self, key: Hashable, question: Hashable | None, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work``. Who asks the same ``question`` while it goes on gets the same result; any other
        question about the key waits for its turn, and so does each without one (None)."""
        while True:
            task = self._tasks.get(key)
            if task is None:
                break
            if question is not None and task.get_name() == repr(question):
                found: T = await asyncio.shield(task)
                return found
            await asyncio.wait((task,))
        mine = self._tasks[key] = asyncio.get_running_loop().create_task(work(), name=repr(question))
        mine.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(mine)

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever still waits has it; nobody may be left

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
