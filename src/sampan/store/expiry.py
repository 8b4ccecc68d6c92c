"""When entries with a time to live end: the moments in order, and the loop's timer that has the store delete them.

Owned by ``embedded``. A moment is milliseconds of the store's clock, so that it means the same after a restart; the
timer is the event loop's. It looks again at least every ``_LOOK_AGAIN_SECONDS``, for a clock may be set forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from heapq import heapify, heappop, heappush

_LOOK_AGAIN_SECONDS = 60.0
#: after a deletion that failed
_RETRY_SECONDS = 5.0
#: how many end at once: a million that ended while the store was down must not stand before everybody's writes
_STEP = 64
#: so many outdated moments are kept before the heap is made anew, whatever its size
_SPARE = 64
_LONGEST_SECONDS = 100 * 365 * 24 * 3600.0


def check_ttl(ttl_seconds: float | None) -> None:
    if ttl_seconds is not None and not ttl_seconds > 0:
        raise ValueError("a time to live must be longer than nothing")


def end_of(now_ms: int, ttl_seconds: float | None) -> int:
    """The moment at which an entry written now ends; 0: never."""
    return 0 if ttl_seconds is None else now_ms + max(1, int(min(ttl_seconds, _LONGEST_SECONDS) * 1000))


class Expiries:
    """Invariant: ``_heap`` has ``(at_ms, key)`` for each item of ``_ends``; what else it has is outdated, and less
    than half of it but for ``_SPARE``."""

    __slots__ = ("_ends", "_heap")

    def __init__(self, ends: Iterable[tuple[str, int]] = ()) -> None:
        self._ends = dict(ends)
        self._heap = [(at_ms, key) for key, at_ms in self._ends.items()]
        heapify(self._heap)

    def __len__(self) -> int:
        return len(self._ends)

    def set(self, key: str, at_ms: int) -> None:
        """``at_ms`` 0: the key has no end."""
        if not at_ms:
            self._ends.pop(key, None)
        elif self._ends.get(key) != at_ms:
            self._ends[key] = at_ms
            heappush(self._heap, (at_ms, key))
        if len(self._heap) > 2 * len(self._ends) + _SPARE:
            self._heap = [(at, each) for each, at in self._ends.items()]
            heapify(self._heap)

    def next_ms(self) -> int | None:
        """The first moment that still holds."""
        while self._heap:
            at_ms, key = self._heap[0]
            if self._ends.get(key) == at_ms:
                return at_ms
            heappop(self._heap)
        return None

    def due(self, now_ms: int, limit: int) -> list[str]:
        """Up to ``limit`` keys that have ended, the first to end first. They are forgotten here."""
        keys: list[str] = []
        while len(keys) < limit and (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            key = heappop(self._heap)[1]
            del self._ends[key]
            keys.append(key)
        return keys


class ExpiryTimer:
    """Calls ``expire`` when something has ended, until closed. ``expire(keys)`` deletes them, and gives those that it
    could not delete for now."""

    def __init__(
        self, expiries: Expiries, now_ms: Callable[[], int], expire: Callable[[list[str]], Awaitable[list[str]]]
    ) -> None:
        self._expiries = expiries
        self._now_ms = now_ms
        self._expire = expire
        self._at_ms: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def arm(self) -> None:
        """To be called when the first moment may have become an earlier one. Needs the running loop."""
        at_ms = self._expiries.next_ms()
        if (
            self._closed
            or self._task is not None
            or at_ms is None
            or (self._at_ms is not None and self._at_ms <= at_ms)
        ):
            return
        self._disarm()
        self._at_ms = at_ms
        delay = min(max(0.0, (at_ms - self._now_ms()) / 1000), _LOOK_AGAIN_SECONDS)
        self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._disarm()
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            await self.run()
        finally:
            self._task = None
            self.arm()

    async def run(self) -> None:
        """Deletes all that has ended by now."""
        while not self._closed and (keys := self._expiries.due(self._now_ms(), _STEP)):
            failed = await self._expire(keys)
            for key in failed:
                self._expiries.set(key, self._now_ms() + int(_RETRY_SECONDS * 1000))

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._at_ms = None

    def close(self) -> None:
        self._closed = True
        self._disarm()
        if self._task is not None:
            self._task.cancel()
