"""One question for many who ask at once: whoever comes while it is under way shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Together:
    """Whoever calls while one is under way shares the next one, which begins after the call."""

    def __init__(self, do: Callable[[], Awaitable[int]]) -> None:
        self._do = do
        self._running: asyncio.Future[int] | None = None
        self._next: asyncio.Future[int] | None = None

    async def __call__(self) -> int:
        if self._next is None:
            self._next = asyncio.ensure_future(self._run(self._running))
            self._next.add_done_callback(_heard)
        return await asyncio.shield(self._next)

    async def _run(self, before: asyncio.Future[int] | None) -> int:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._do()


def _heard(done: asyncio.Future[int]) -> None:
    if not done.cancelled():
        done.exception()  # whoever waited was told
