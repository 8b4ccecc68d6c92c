"""The watch cache: one resource's current entries with what selectors look at, and a ring of recent events.

The API server reads, lists and watches through it; components in the same process take it as their informer. Values
are the store's own bytes, never copied. Objects are decoded when somebody asks, and kept only while someone in this
process is subscribed. Knows nothing of HTTP; runs on the event loop. Opened watches are in ``cachewatch``.

An object is visible here when ``Store.commit`` returns; bookmarks and lists can rely on ``revision``.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from sampan.api.types import Obj
from sampan.store.cachewatch import CachedEntry, CacheEvent, CacheWatch, ChangeType, Codec, Decode, Describe, Selector
from sampan.store.protocol import Change, Compacted, Entry, FutureRevision, Store
from sampan.store.sortedmap import SortedMap

__all__ = ["CacheEvent", "CacheWatch", "CachedEntry", "Subscriber", "WatchCache"]

log = logging.getLogger(__name__)

RING = 2048
RING_BYTES = 4 * 1024 * 1024
WATCH_LIMIT = 10_000

#: ``(type, object, previous object, revision)``; a DELETED's object is the last state at the deletion's revision.
Subscriber: TypeAlias = Callable[[Literal["ADDED", "MODIFIED", "DELETED"], Obj, Obj | None, int], None]


class WatchCache:
    """Invariants: the ring holds, in order, every change under ``prefix`` after ``_ring_floor``; ``_entries`` is the
    state after the last of them."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        describe: Describe,
        decode: Decode,
        *,
        ring: int = RING,
        ring_bytes: int = RING_BYTES,
        watch_limit: int = WATCH_LIMIT,
    ) -> None:
        """``prefix`` ends with "/". ``describe`` gives an object's labels and selectable fields; ``decode(value,
        revision)`` gives the object with its resourceVersion. Both may raise: the entry then counts as damaged."""
        if not prefix.endswith("/"):
            raise ValueError(f"prefix {prefix!r} does not end with /")
        self.store = store
        self.prefix = prefix
        self._codec = Codec(describe, decode)
        self._entries: SortedMap[CachedEntry] = SortedMap()
        self._ring: deque[CacheEvent] = deque()
        self._ring_limit = ring
        self._ring_bytes_limit = ring_bytes
        self._ring_bytes = 0
        self._ring_floor = 0
        self._watch_limit = watch_limit
        self._by_prefix: dict[str, dict[CacheWatch, None]] = {}
        self._by_key: dict[str, dict[CacheWatch, None]] = {}
        self._subscribers: tuple[Subscriber, ...] = ()
        self._remove_listener: Callable[[], None] | None = None
        self._start_lock = asyncio.Lock()
        self._started = False
        self._starting: list[Change] = []

    async def start(self) -> None:
        """Fills the cache and follows the store from there on. A later call only waits until that is done."""
        async with self._start_lock:
            if not self._started:
                await self._start()

    async def _start(self) -> None:
        remove = self.store.add_listener(self.prefix, self._on_change)
        try:
            found = await self.store.range(self.prefix)
        except BaseException:
            remove()
            self._starting = []
            raise
        self._remove_listener = remove
        self._entries = SortedMap((entry.key, self.wrap(entry)) for entry in found.entries)
        self._ring_floor = found.revision
        self._started = True
        changes, self._starting = self._starting, []
        for change in changes:  # that were committed while the store answered
            if change.revision > found.revision:
                self._on_change(change)

    @property
    def ready(self) -> bool:
        return self._started

    def close(self) -> None:
        """Ends all watches and forgets the entries."""
        if self._remove_listener is not None:
            self._remove_listener()
        for watches in (*self._by_prefix.values(), *self._by_key.values()):
            for watch in tuple(watches):
                watch.close()
        self._entries, self._subscribers, self._started = SortedMap(), (), False
        self._ring.clear()
        self._ring_bytes = 0

    # Reads

    @property
    def revision(self) -> int:
        """The store revision that the cache shows: every change up to it has been applied and dispatched."""
        return self.store.revision

    def get(self, key: str) -> CachedEntry | None:
        return self._entries.get(key)

    def entries(self, prefix: str | None = None, *, after: str | None = None, limit: int = 0) -> Sequence[CachedEntry]:
        """Entries in key order. ``limit`` 0: all."""
        return self._entries.values(self.prefix if prefix is None else prefix, after, limit)

    def count(self, prefix: str | None = None, *, after: str | None = None) -> int:
        return self._entries.count(self.prefix if prefix is None else prefix, after)

    def wrap(self, entry: Entry) -> CachedEntry:
        """The described form of any entry of this resource, such as one that was read at an older revision."""
        return CachedEntry(entry, self._codec)

    async def barrier(self) -> int:
        """Returns when the cache shows everything committed before the call; the revision it shows."""
        return await self.store.sync()

    async def wait_for(self, revision: int, timeout: float) -> None:
        """Returns once the cache shows ``revision``. Raises FutureRevision after ``timeout`` seconds."""
        if self.revision >= revision:
            return
        reached = asyncio.Event()

        def look(change: Change) -> None:
            if change.revision >= revision:
                reached.set()

        remove = self.store.add_listener("", look)
        try:
            async with asyncio.timeout(timeout):
                await reached.wait()
        except TimeoutError:
            raise FutureRevision(revision, self.revision) from None
        finally:
            remove()

    # Watches

    def watch(
        self,
        prefix: str | None = None,
        from_revision: int | None = None,
        selector: Selector | None = None,
        *,
        key: str | None = None,
        limit: int | None = None,
    ) -> CacheWatch:
        """Changes strictly after ``from_revision``; None or 0: first an ADDED for everything that is there.

        ``prefix`` ends with "/"; ``key``: that one object only. Raises Compacted when the changes are no longer all
        there. Close the watch when done.
        """
        prefix = self.prefix if prefix is None else prefix
        limit = limit or self._watch_limit
        if not prefix.endswith("/") or not prefix.startswith(self.prefix):
            raise ValueError(f"{prefix!r} is no directory of {self.prefix}")
        if from_revision and from_revision < min(self.store.oldest, self._ring_floor):
            raise Compacted(from_revision, self.store.oldest)
        initial: Sequence[CachedEntry] = ()
        if not from_revision:
            one = self._entries.get(key) if key is not None else None
            initial = self.entries(prefix) if key is None else [one] if one is not None else []
        register, name = (self._by_prefix, prefix) if key is None else (self._by_key, key)
        watch = CacheWatch(
            self,
            prefix if key is None else key,
            from_revision or self.revision,
            selector,
            initial,
            limit,
            lambda closed: _unregister(register, name, closed),
        )
        register.setdefault(name, {})[watch] = None
        if from_revision and from_revision < self.revision:
            recent = self._since(from_revision)
            # More than fits the queue comes out of the store too, a page at a time; if it is still there.
            in_store = recent is None or (len(recent) > limit and from_revision >= self.store.oldest)
            watch.resume(None if in_store else recent)
        return watch

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Calls ``callback`` for each later change, at once and in order; returns the unsubscriber.

        Entries whose value cannot be read are not told of.
        """
        self._subscribers = (*self._subscribers, callback)
        self._codec.keep = True

        def unsubscribe() -> None:
            self._subscribers = tuple(other for other in self._subscribers if other is not callback)
            self._codec.keep = bool(self._subscribers)

        return unsubscribe

    def event(self, change: Change) -> CacheEvent:
        """A change out of the store's history as an event."""
        entry = self.wrap(change.entry) if change.entry is not None else None
        previous = self.wrap(change.previous) if change.previous is not None else None
        return _event(change.revision, entry, previous)

    def _since(self, revision: int) -> Sequence[CacheEvent] | None:
        """The ring's events after ``revision``; None when they are only in the store."""
        if revision < self._ring_floor:
            return None
        events = list(self._ring)
        return events[bisect_right(events, revision, key=lambda event: event.revision) :]

    def _on_change(self, change: Change) -> None:
        if not self._started:
            self._starting.append(change)
            return
        previous = self._entries.get(change.key)
        entry = None
        if change.entry is None:
            self._entries.pop(change.key)
        else:
            entry = self.wrap(change.entry)
            self._entries.set(change.key, entry)
        event = _event(change.revision, entry, previous)
        self._remember(event)
        self._notify(event)
        self._dispatch(event)

    def _remember(self, event: CacheEvent) -> None:
        self._ring.append(event)
        self._ring_bytes += event.cost
        while self._ring and (len(self._ring) > self._ring_limit or self._ring_bytes > self._ring_bytes_limit):
            gone = self._ring.popleft()
            self._ring_bytes -= gone.cost
            self._ring_floor = gone.revision

    def _notify(self, event: CacheEvent) -> None:
        if not self._subscribers:
            return
        before = event.previous if event.previous is not None and not event.previous.damaged else None
        after = event.entry if event.type != "DELETED" and not event.entry.damaged else None
        if after is not None:
            kind: ChangeType = "MODIFIED" if before is not None else "ADDED"
            shown = after.object()
        elif before is not None:
            kind = "DELETED"
            shown = event.as_type("DELETED").object()
        else:
            return
        previous = before.object() if before is not None else None
        for callback in self._subscribers:
            try:
                callback(kind, shown, previous, event.revision)
            except Exception:  # one subscriber's fault must not cost the others the change
                log.exception("subscriber of %s failed at revision %d", self.prefix, event.revision)

    def _dispatch(self, event: CacheEvent) -> None:
        key = event.entry.key
        if self._by_key:
            for watch in tuple(self._by_key.get(key, ())):
                watch.push(event)
        if not self._by_prefix:
            return
        end = len(self.prefix)
        while end:  # the resource's own directory, then the ones below it: the namespace's
            for watch in tuple(self._by_prefix.get(key[:end], ())):
                watch.push(event)
            end = key.find("/", end) + 1


def _event(revision: int, entry: CachedEntry | None, previous: CachedEntry | None) -> CacheEvent:
    if entry is not None:
        return CacheEvent("ADDED" if previous is None else "MODIFIED", entry, previous, revision)
    if previous is None:
        raise ValueError(f"the deletion at revision {revision} has no previous state")
    return CacheEvent("DELETED", previous, previous, revision)


def _unregister(register: dict[str, dict[CacheWatch, None]], name: str, watch: CacheWatch) -> None:
    watches: Mapping[CacheWatch, None] | None = register.get(name)
    if watches is not None:
        register[name].pop(watch, None)
        if not register[name]:
            del register[name]
