"""When entries with a time to live end: the moments in order, and the loop's timer that has the store delete them.

Owned by ``embedded``. A moment is milliseconds of the store's clock, so that it means the same after a restart; the
timer is the event loop's. It looks again at least every ``LOOK_AGAIN_SECONDS``, for a clock may be set forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import islice

LOOK_AGAIN_SECONDS = 60.0
#: after a deletion that failed
_RETRY_SECONDS = 5.0
#: how many end at once: a million that ended while the store was down must not stand before everybody's writes
_STEP = 64
#: ends are told apart only so finely, and none comes early
_TICK_MS = 250
#: so many ticks that are gone are kept before the heap is made anew, whatever its size
_SPARE = 64
_LONGEST_SECONDS = 100 * 365 * 24 * 3600.0


def check_ttl(ttl_seconds: float | None) -> None:
    if ttl_seconds is not None and not ttl_seconds > 0:
        raise ValueError("a time to live must be longer than nothing")


def end_of(now_ms: int, ttl_seconds: float | None) -> int:
    """The moment at which an entry written now ends; 0: never."""
    return 0 if ttl_seconds is None else now_ms + max(1, int(min(ttl_seconds, _LONGEST_SECONDS) * 1000))


class Expiries:
    """Keys by the tick in which they end, so that a key that is written again and again leaves nothing behind.

    Invariant: ``_ticks[tick]`` has the keys whose ``_ends`` is the tick, and none is empty; ``_heap`` has each of these
    ticks, and of others no more than of these but for ``_SPARE``.
    """

    __slots__ = ("_ends", "_heap", "_ticks")

    def __init__(self, ends: Iterable[tuple[str, int]] = ()) -> None:
        self._ends: dict[str, int] = {}
        self._ticks: dict[int, dict[str, None]] = {}
        self._heap: list[int] = []
        for key, at_ms in ends:
            self.set(key, at_ms)

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, key: str) -> bool:
        return key in self._ends

    def set(self, key: str, at_ms: int) -> None:
        """``at_ms`` 0: the key has no end."""
        tick = -(-at_ms // _TICK_MS)
        before = self._ends.pop(key, None)
        if before is not None:
            keys = self._ticks[before]
            del keys[key]
            if not keys and before != tick:
                self._drop(before)
        if not tick:
            return
        self._ends[key] = tick
        keys_then = self._ticks.get(tick)
        if keys_then is None:
            self._ticks[tick] = {key: None}
            heappush(self._heap, tick)
        else:
            keys_then[key] = None

    def _drop(self, tick: int) -> None:
        del self._ticks[tick]
        if len(self._heap) > 2 * len(self._ticks) + _SPARE:
            self._heap = list(self._ticks)
            heapify(self._heap)

    def next_ms(self) -> int | None:
        """The first moment at which something ends."""
        while self._heap:
            tick = self._heap[0]
            if tick in self._ticks:
                return tick * _TICK_MS
            heappop(self._heap)
        return None

    def due(self, now_ms: int, limit: int) -> list[str]:
        """Up to ``limit`` keys that have ended, the first to end first. They are forgotten here."""
        found: list[str] = []
        while len(found) < limit and (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            keys = self._ticks[at_ms // _TICK_MS]
            for key in list(islice(keys, limit - len(found))):
                self.set(key, 0)
                found.append(key)
        return found


class ExpiryTimer:
    """Calls ``expire`` when something has ended, until closed. ``expire(keys)`` deletes them, and gives those that it
    could not delete for now."""

    def __init__(
        self,
        expiries: Expiries,
        now_ms: Callable[[], int],
        expire: Callable[[list[str]], Awaitable[list[str]]],
        *,
        look_again_seconds: float = LOOK_AGAIN_SECONDS,
    ) -> None:
        """``look_again_seconds``: for a clock that goes with the event loop's time it may be as long as one likes."""
        self._look_again_seconds = look_again_seconds
        self._expiries = expiries
        self._now_ms = now_ms
        self._expire = expire
        self._at_ms: int | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = asyncio.Lock()
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
        delay = min(max(0.0, (at_ms - self._now_ms()) / 1000), self._look_again_seconds)
        self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._disarm()
        at_ms = self._expiries.next_ms()
        if at_ms is not None and at_ms <= self._now_ms():
            self._task = asyncio.ensure_future(self._run())
        else:  # it was only a look at the clock
            self.arm()

    async def _run(self) -> None:
        try:
            await self.run()
        finally:
            self._task = None
            self.arm()

    async def run(self) -> None:
        """Deletes all that has ended by now; what somebody else is deleting already has gone then, too."""
        async with self._running:
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
