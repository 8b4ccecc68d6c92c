"""A store that lets other tasks run at random points: what is only right while nobody else runs fails on it.

``MemoryStore`` never suspends, so a race that every real store allows cannot happen on it. This one keeps the same
contract; one seed gives one order of events.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from sampan.api.clock import Clock
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Change, Entry, Range

#: how often the loop turns at most before one step of a call
_TURNS = 4


class YieldingStore(MemoryStore):
    """Each call waits for a few turns of the loop, or none, before it decides and again before it answers."""

    def __init__(self, seed: int, *, clock: Clock | None = None, history_limit: int | None = None) -> None:
        super().__init__(clock=clock, history_limit=history_limit)
        self._random = random.Random(seed)

    async def _others(self) -> None:
        for _ in range(self._random.randrange(_TURNS)):
            await asyncio.sleep(0)

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        await self._others()
        found = await super().get(key, revision)
        await self._others()
        return found

    async def range(
        self, prefix: str, *, limit: int = 0, after: str | None = None, revision: int | None = None
    ) -> Range:
        await self._others()
        found = await super().range(prefix, limit=limit, after=after, revision=revision)
        await self._others()
        return found

    async def changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        await self._others()
        found = await super().changes(prefix, after, until, limit)
        await self._others()
        return found

    async def commit(
        self,
        key: str,
        expected: int | None,
        value: bytes | None,
        *,
        ttl_seconds: float | None = None,
        note: object | None = None,
    ) -> int:
        await self._others()
        revision = await super().commit(key, expected, value, ttl_seconds=ttl_seconds, note=note)
        await self._others()
        return revision

    def sync_now(self) -> int | None:
        return None  # somebody else may have committed, as far as the caller can tell

    async def sync(self) -> int:
        await self._others()
        return await super().sync()
