"""A queue of keys for controllers (the guarantees of client-go's ``workqueue``).

- A key added several times before it is taken is taken once.
- A key is never worked on by two workers at once; added while worked on, it is queued again at ``done``.
- Fair: first in, first out. Delays and back-off run on the event loop's clock.

One event loop only. It holds keys, never objects, and retries nothing by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from sampan.client.queuemetrics import QueueMetrics
from sampan.metrics import current

K = TypeVar("K", bound=Hashable)

BASE_DELAY_SECONDS = 0.005
MAX_DELAY_SECONDS = 1000.0


class QueueClosed(Exception):
    """``get`` after ``shut_down``: the worker ends."""


class WorkQueue(Generic[K]):
    """Invariants: every key in ``_queue`` is in ``_dirty`` and not in ``_processing``; a key in both ``_dirty`` and
    ``_processing`` is queued by ``done``.
    """

    def __init__(
        self,
        name: str = "",
        *,
        base_seconds: float = BASE_DELAY_SECONDS,
        max_seconds: float = MAX_DELAY_SECONDS,
    ) -> None:
        """``name``: by which metrics tell of it; "": they do not."""
        self.metrics = QueueMetrics(current(), name, self.__len__) if name else None
        self._base_seconds = base_seconds
        self._max_seconds = max_seconds
        self._queue: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing queued and nothing worked on (delayed keys do not count)."""
        return not self._queue and not self._processing

    @property
    def delayed(self) -> int:
        """Keys whose time has not come."""
        return len(self._timers)

    def add(self, key: K) -> None:
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if self.metrics is not None:
            self.metrics.added(key)
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Adds the key later; an earlier pending time for the same key is kept."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        if self.metrics is not None:
            self.metrics.retried()
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= due:
                return
            pending.cancel()
        self._timers[key] = loop.call_at(due, self._timer_fired, key)

    def add_rate_limited(self, key: K) -> None:
        """Adds the key after its own exponential back-off; ``forget`` ends the back-off."""
        self.add_after(key, self.next_delay_seconds(key))

    def next_delay_seconds(self, key: K) -> float:
        """Counts one failure of the key and returns how long to wait for it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded so that the float cannot overflow.
        return min(self._base_seconds * 2.0 ** min(failures, 60), self._max_seconds)

    def forget(self, key: K) -> None:
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key; the caller must call ``done`` with it. Raises QueueClosed."""
        while not self._queue:
            if self._closed:
                raise QueueClosed
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # The wake-up may have been meant for a key that is still here: pass it on.
                if getter.done() and not getter.cancelled() and self._queue:
                    self._wake()
                raise
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        if self.metrics is not None:
            self.metrics.taken(key)
        return key

    def done(self, key: K) -> None:
        self._processing.discard(key)
        if self.metrics is not None:
            self.metrics.done(key)
        if key in self._dirty:
            self._push(key)

    def shut_down(self) -> None:
        """Takes no more keys; keys being worked on end normally, waiting ``get`` calls raise QueueClosed."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queue.clear()
        self._dirty.clear()
        while self._getters:
            self._wake()

    def check_invariants(self) -> None:
        queued = set(self._queue)
        assert len(queued) == len(self._queue), "a key is queued twice"
        assert queued <= self._dirty, "a queued key is not dirty"
        assert not queued & self._processing, "a queued key is being worked on"
        assert self._dirty - queued <= self._processing, "a dirty key would be lost"

    def _push(self, key: K) -> None:
        self._queue.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _timer_fired(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)


def loop_time() -> float:
    return asyncio.get_running_loop().time()
