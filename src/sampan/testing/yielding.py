"""Stores that let other tasks run at random points: what is only right while nobody else runs fails on them.

``MemoryStore`` never suspends, so a race that every real store allows cannot happen on it. ``YieldingStore`` keeps the
same contract. ``LateStore`` also tells its listeners late, as a store elsewhere does: what takes a cache for the store
fails on it. One seed gives one order of events.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from sampan.api.clock import Clock
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Change, Entry, Guard, Listener, Missed, Range

log = logging.getLogger(__name__)

#: how often the loop turns at most before one step of a call
_TURNS = 4


class YieldingStore(MemoryStore):
    """Each call waits for a few turns of the loop, or none, before it decides and again before it answers."""

    def __init__(self, seed: int, *, clock: Clock | None = None, history_limit: int | None = None) -> None:
        super().__init__(clock=clock, history_limit=history_limit)
        self._random = random.Random(seed)

    def reseed(self, seed: int) -> None:
        """What comes next is ordered as after a start with this seed."""
        self._random.seed(seed)

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
        guards: Sequence[Guard] = (),
    ) -> int:
        await self._others()
        revision = await super().commit(key, expected, value, ttl_seconds=ttl_seconds, note=note, guards=guards)
        await self._others()
        return revision

    def sync_now(self) -> int | None:
        return None  # somebody else may have committed, as far as the caller can tell

    async def sync(self) -> int:
        await self._others()
        return await super().sync()


class LateStore(YieldingStore):
    """A commit returns before its listeners are told; each is, in order, at its own pace. ``sync`` waits for all."""

    def __init__(self, seed: int, *, clock: Clock | None = None, history_limit: int | None = None) -> None:
        super().__init__(seed, clock=clock, history_limit=history_limit)
        self._late: list[_Late] = []
        #: nobody is told of anything meanwhile
        self.held = False

    def add_listener(self, prefix: str, listener: Listener, missed: Missed | None = None) -> Callable[[], None]:
        late = _Late(self, listener, self._random)
        self._late.append(late)
        remove_put = super().add_listener(prefix, late.put, missed)

        def remove() -> None:
            remove_put()
            late.close()
            if late in self._late:
                self._late.remove(late)

        return remove

    async def sync(self) -> int:
        await self._others()
        revision = self._revision
        for late in tuple(self._late):
            await late.until(revision)
        await self._others()
        return revision


class _Late:
    """What one listener has not been told yet."""

    def __init__(self, store: LateStore, listener: Listener, rng: random.Random) -> None:
        self._store, self._listener, self._random = store, listener, rng
        self.waiting: deque[Change] = deque()
        self._running = False
        self._asked: list[tuple[int, asyncio.Event]] = []

    async def until(self, revision: int) -> None:
        """Returns once the listener was told of everything up to the revision."""
        if self.waiting and self.waiting[0].revision <= revision:
            told = asyncio.Event()
            self._asked.append((revision, told))
            await told.wait()

    def close(self) -> None:
        self.waiting.clear()
        self._answer()

    def _answer(self) -> None:
        for asked in tuple(self._asked):
            revision, told = asked
            if not self.waiting or self.waiting[0].revision > revision:
                self._asked.remove(asked)
                told.set()

    def put(self, change: Change) -> None:
        if self._random.random() < 0.5:  # somebody else's write brings no note along
            change = Change(change.key, change.revision, change.entry, change.previous)
        self.waiting.append(change)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        while self.waiting and not self._store.held and self._random.random() < 0.25:
            change = self.waiting.popleft()
            try:
                self._listener(change)
            except Exception:
                log.exception("a listener failed at revision %d of %s", change.revision, change.key)
        self._answer()
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._running = False
