"""The recent events of watch caches, and one limit of bytes for all the rings that share it.

A ring belongs to one cache. What it alone keeps alive are the states that were replaced: the newest ones are the
cache's anyway. Runs on the event loop.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from sampan.store.cachewatch import CacheEvent

#: events whose encodings are kept, for watchers that are about to take them, if they are no longer than this
_FRESH = 64
_FRESH_BYTES = 8 * 1024
#: so many turns of events that are gone are kept before the order is made anew, whatever its size
_SPARE = 1024


class RingBudget:
    """At most ``limit_bytes`` in all rings together; the oldest events go first, whichever ring has them.

    Invariant: ``_order`` has ``(ring, revision)`` for each event of each ring, in the order in which they came; what
    else it has belongs to events that are gone.
    """

    __slots__ = ("_events", "_limit", "_order", "held")

    def __init__(self, limit_bytes: int) -> None:
        self.held = 0
        self._limit = limit_bytes
        self._events = 0
        self._order: deque[tuple[EventRing, int]] = deque()

    def add(self, ring: EventRing, revision: int, cost: int) -> None:
        self._order.append((ring, revision))
        self._events += 1
        self.held += cost
        while self.held > self._limit and self._order:
            oldest, at = self._order.popleft()
            if oldest.floor < at:
                oldest.drop()
        if len(self._order) > 2 * self._events + _SPARE:
            self._order = deque((other, at) for other, at in self._order if other.floor < at)

    def give_back(self, events: int, cost: int) -> None:
        self._events -= events
        self.held -= cost


class EventRing:
    """Invariant: holds, in order, every event of its cache after ``floor``."""

    __slots__ = ("_budget", "_bytes_limit", "_events", "_limit", "floor", "held")

    def __init__(self, limit: int, bytes_limit: int, budget: RingBudget) -> None:
        self.floor = 0
        #: about how many bytes the ring keeps alive
        self.held = 0
        self._events: deque[CacheEvent] = deque()
        self._limit = limit
        self._bytes_limit = bytes_limit
        self._budget = budget

    def __len__(self) -> int:
        return len(self._events)

    def start(self, revision: int) -> None:
        self.clear()
        self.floor = revision

    def add(self, event: CacheEvent) -> None:
        events, cost = self._events, event.cost
        if events and events[-1].size > _FRESH_BYTES:
            events[-1].forget()
        events.append(event)
        self.held += cost
        self._budget.add(self, event.revision, cost)
        while events and (len(events) > self._limit or self.held > self._bytes_limit):
            self.drop()
        if len(events) > _FRESH:
            events[-_FRESH - 1].forget()

    def drop(self) -> None:
        """Forgets the oldest event."""
        event = self._events.popleft()
        self.floor = event.revision
        cost = event.cost
        self.held -= cost
        self._budget.give_back(1, cost)

    def since(self, revision: int) -> Sequence[CacheEvent] | None:
        """The events after ``revision``; None when they are no longer all here."""
        if revision < self.floor:
            return None
        if not self._events or self._events[-1].revision <= revision:
            return ()
        events = list(self._events)
        return events[bisect_right(events, revision, key=lambda event: event.revision) :]

    def clear(self) -> None:
        if self._events:
            self.floor = self._events[-1].revision
        self._budget.give_back(len(self._events), self.held)
        self._events.clear()
        self.held = 0
