"""The watch cache: one resource's current entries with what selectors look at, and a ring of recent events.

The API server reads, lists and watches through it; components in the same process take it as their informer. Values
are the store's own bytes, never copied. Objects are decoded when somebody asks, and kept only while someone in this
process is subscribed. Knows nothing of HTTP; runs on the event loop. Opened watches are in ``cachewatch``.

A cache goes by its own progress: bookmarks and lists can rely on ``revision``, which is the store's only where the
store tells its listeners before it answers. Elsewhere a cache may be behind, and ``barrier`` waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence

from sampan.api.types import Obj
from sampan.store.cachewatch import (
    Adopt,
    CachedEntry,
    CacheEvent,
    CacheWatch,
    ChangeType,
    Codec,
    Decode,
    Describe,
    Only,
    Selector,
    unchanged,
)
from sampan.store.channels import Channel, Encode, Follower, MakeBatch
from sampan.store.interests import Interests
from sampan.store.protocol import Change, Compacted, Entry, FutureRevision, Store
from sampan.store.ring import EventRing, RingBudget
from sampan.store.sortedmap import Ended, SortedMap
from sampan.store.subscribers import PartSubscriber, Signal, Subscriber, readable, tell

__all__ = [
    "CacheEvent",
    "CacheWatch",
    "CachedEntry",
    "Channel",
    "Follower",
    "Only",
    "RingBudget",
    "Subscriber",
    "WatchCache",
]

log = logging.getLogger(__name__)

RING = 2048
RING_BYTES = 2 * 1024 * 1024
#: the limit of the recent events of all caches in the process that have no other
_ALL_RINGS = RingBudget(16 * 1024 * 1024)
WATCH_LIMIT = 10_000
WATCH_BYTES = 8 * 1024 * 1024
#: so many entries are read in one turn of the loop when a cache starts: a few milliseconds
START_STEP = 250
#: directories whose last change is remembered one by one
_VERSIONS = 4096


class WatchCache:
    """Invariants: the ring holds, in order, every change under ``prefix`` after its floor; ``_entries`` is the state
    after the last of them, and at ``_progress``, for nothing else happened until then."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        describe: Describe,
        decode: Decode,
        *,
        current: Callable[[bytes], bytes] = unchanged,
        adopt: Adopt | None = None,
        batch: MakeBatch = bytes,
        budget: RingBudget | None = None,
        ring: int = RING,
        ring_bytes: int = RING_BYTES,
        watch_limit: int = WATCH_LIMIT,
        watch_bytes: int = WATCH_BYTES,
        keeps_objects: bool = True,
        start_step: int = START_STEP,
    ) -> None:
        """``prefix`` ends with "/". ``describe`` gives an object's labels and selectable fields; ``decode(value,
        revision)`` gives the object with its resourceVersion. Both may raise: the entry then counts as damaged.

        ``current`` gives the present form of a value; one that has it comes back as it is. ``adopt(note, revision)``
        gives the object of a commit's note, for callers who want objects; without it they are decoded. ``batch``
        makes of bytes what followers are pushed. ``budget`` is what this and other caches may hold of recent events
        together; without one, that of all caches in the process. ``keeps_objects`` False: objects are long and few, and
        decoded anew for whoever asks, followers included."""
        if not prefix.endswith("/"):
            raise ValueError(f"prefix {prefix!r} does not end with /")
        self.store = store
        self.prefix = prefix
        self._codec = Codec(describe, decode, current, adopt)
        self._batch = batch
        self._entries: SortedMap[CachedEntry] = SortedMap()
        self._damaged: set[str] = set()
        self._version = 0
        self._progress = 0
        #: of the state that the cache began with
        self._began = 0
        #: of the directories below: those that are not there have the resource's own
        self._versions: dict[str, int] = {}
        self._ring = EventRing(ring, ring_bytes, budget or _ALL_RINGS)
        self._watch_limit, self._watch_bytes = watch_limit, watch_bytes
        self._interests = Interests(prefix)
        self._channels: dict[Hashable, Channel] = {}
        self._watches: dict[CacheWatch, None] = {}
        self._subscribers: tuple[Subscriber, ...] = ()
        self._listeners: tuple[Subscriber, ...] = ()
        self._keepers = 0
        self._keeps_objects, self._start_step = keeps_objects, start_step
        self._remove_listener: Callable[[], None] | None = None
        self._start_lock = asyncio.Lock()
        self._started = False
        self._starting: list[Change] = []
        self._missed: tuple[int, Callable[[str], bool]] | None = None

    async def start(self) -> None:
        """Fills the cache and follows the store from there on. A later call only waits until that is done."""
        async with self._start_lock:
            if not self._started:
                await self._start()

    async def _start(self) -> None:
        remove = self.store.add_listener(self.prefix, self._on_change, self._on_missed)
        try:
            found = await self.store.range(self.prefix)
            entries: list[tuple[str, CachedEntry]] = []
            for at in range(0, len(found.entries), self._start_step):
                entries += [(entry.key, self.wrap(entry)) for entry in found.entries[at : at + self._start_step]]
                await asyncio.sleep(0)
        except BaseException:
            remove()
            self._starting, self._missed = [], None
            raise
        self._remove_listener = remove
        self._entries = SortedMap(entries)
        self._damaged = {key for key, entry in entries if entry.damaged}
        self._version, self._versions = found.revision, {}
        self._progress = self._began = found.revision
        self._ring.start(found.revision)
        self._started = True
        changes, self._starting = self._starting, []
        for change in changes:  # that were committed while the store answered
            if self._missed is not None and change.revision > self._missed[0]:
                self._take_missed()
            self._on_change(change)
        self._take_missed()

    @property
    def ready(self) -> bool:
        return self._started

    def close(self) -> None:
        """Ends all watches and channels and forgets the entries. What is asked of it later raises StoreUnavailable: an
        empty answer would be a lie."""
        if self._remove_listener is not None:
            self._remove_listener()
        for channel in tuple(self._channels.values()):
            channel.close()
        for watch in tuple(self._watches):
            watch.close()
        self._entries, self._started = Ended(f"{self.prefix} is served no longer"), False
        self._subscribers = self._listeners = ()
        self._damaged, self._versions = set(), {}
        self._ring.clear()

    # Reads

    @property
    def revision(self) -> int:
        """The store revision that the cache shows: every change up to it has been applied and dispatched."""
        now = self.store.sync_now()
        return self._progress if now is None else now

    def get(self, key: str) -> CachedEntry | None:
        return self._entries.get(key)

    def entries(self, prefix: str | None = None, *, after: str | None = None, limit: int = 0) -> Sequence[CachedEntry]:
        """Entries in key order. ``limit`` 0: all."""
        return self._entries.values(self.prefix if prefix is None else prefix, after, limit)

    def readable(self, prefix: str | None = None) -> Sequence[CachedEntry]:
        """The same without the damaged ones: one value that cannot be read must not hide the others."""
        entries = self.entries(prefix)
        return [entry for entry in entries if not entry.damaged] if self._damaged else entries

    def damaged(self, prefix: str | None = None) -> Sequence[str]:
        """The keys whose values cannot be read, in order."""
        return sorted(key for key in self._damaged if prefix is None or key.startswith(prefix))

    def version(self, prefix: str | None = None) -> int:
        """A revision that changes whenever something under ``prefix`` does: as long as it is the same, so is all that
        is there. ``prefix``: of the resource, or of one namespace of it."""
        return self._version if prefix is None else self._versions.get(prefix, self._version)

    def count(self, prefix: str | None = None, *, after: str | None = None) -> int:
        return self._entries.count(self.prefix if prefix is None else prefix, after)

    def wrap(self, entry: Entry) -> CachedEntry:
        """The described form of any entry of this resource, such as one that was read at an older revision."""
        return CachedEntry(entry, self._codec)

    def is_current(self) -> bool:
        """The cache shows everything that anyone has committed: ``barrier`` would not wait."""
        return self.store.sync_now() is not None

    async def barrier(self) -> int:
        """Returns when the cache shows everything committed before the call; that revision."""
        revision = await self.store.sync()
        self._progress = max(self._progress, revision)
        return revision

    def advance(self, revision: int) -> None:
        """Everything up to this revision has been told to whoever listens, so the cache shows it."""
        if self._started:
            self._progress = max(self._progress, revision)

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
                # The store may have it, and this cache not; and another cache be told of a change before this one is.
                if await self.barrier() < revision:
                    await reached.wait()
                    await self.barrier()
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
        only: Only | None = None,
        limit: int | None = None,
    ) -> CacheWatch:
        """Changes strictly after ``from_revision``; None or 0: first an ADDED for everything that is there.

        ``prefix`` ends with "/"; ``key``: that one object only; ``only``: a field and its value that the selector
        wants, so that other objects' changes cost the watch nothing. Raises Compacted when the changes are no longer
        all there. Close the watch when done.
        """
        prefix = self._directory(prefix)
        self._entries.check()
        limit = limit or self._watch_limit
        if from_revision and from_revision < min(self.store.oldest, self._ring.floor):
            raise Compacted(from_revision, self.store.oldest)
        initial: Sequence[CachedEntry] = ()
        if not from_revision:
            one = self._entries.get(key) if key is not None else None
            initial = self.entries(prefix) if key is None else [one] if one is not None else []
        start = from_revision or self.revision
        watch = CacheWatch(self, key or prefix, start, selector, initial, limit, self._watch_bytes)
        remove = self._interests.add(watch, prefix, key, only)
        self._watches[watch] = None

        def gone() -> None:
            remove()
            self._watches.pop(watch, None)

        watch.opened(gone)
        if from_revision and from_revision < self.revision:
            recent = self._ring.since(from_revision)
            # More than fits the queue comes out of the store too, a page at a time; if it is still there.
            fits = recent is not None and len(recent) <= limit and self._fits(recent)
            in_store = recent is None or (not fits and from_revision >= self.store.oldest)
            watch.resume(None if in_store else recent)
        return watch

    def _fits(self, events: Sequence[CacheEvent]) -> bool:
        """Whether a watch's queue takes all of them, by their bytes."""
        return sum(event.size for event in events) <= self._watch_bytes

    def channel(
        self,
        ident: Hashable,
        prefix: str | None,
        key: str | None,
        selector: Selector | None,
        encode: Encode,
        *,
        only: Only | None = None,
    ) -> Channel:
        """The channel of all who ask the same: ``ident`` stands for all the other arguments, which are as for
        ``watch``. ``encode`` gives the bytes that the followers are sent of an event; none: nothing is sent."""
        found = self._channels.get(ident)
        if found is not None:
            return found
        prefix = self._directory(prefix)

        def register(channel: Channel) -> Callable[[], None]:
            remove = self._interests.add(channel, prefix, key, only)
            self._channels[ident] = channel

            def unregister() -> None:
                remove()
                if self._channels.get(ident) is channel:
                    del self._channels[ident]

            return unregister

        return Channel(ident, self, prefix, key, selector, encode, self._batch, register)

    def since(self, prefix: str, key: str | None, revision: int) -> Sequence[CacheEvent] | None:
        """For channels: the recent events after ``revision``; None when they are only in the store."""
        recent = self._ring.since(revision)
        if recent is None:
            return None
        if key is not None:
            return [event for event in recent if event.entry.key == key]
        if prefix == self.prefix:
            return recent
        return [event for event in recent if event.entry.key.startswith(prefix)]

    def _directory(self, prefix: str | None) -> str:
        prefix = self.prefix if prefix is None else prefix
        if not prefix.endswith("/") or not prefix.startswith(self.prefix):
            raise ValueError(f"{prefix!r} is no directory of {self.prefix}")
        return prefix

    def subscribe(self, callback: Subscriber, *, keep: bool = True) -> Callable[[], None]:
        """Calls ``callback`` for each later change, at once and in order; returns the unsubscriber.

        Entries whose value cannot be read are not told of. ``keep``: the objects of all entries stay decoded from
        now on, which takes several times the memory of their values. False for those who only listen: they are told
        of no previous object, and of a new one as its writer left it, perhaps without the kind and the revision, so
        that nothing is decoded for their sake.
        """
        if not keep:
            self._listeners = (*self._listeners, callback)
        else:
            self._subscribers = (*self._subscribers, callback)
            self._keep(1)

        def unsubscribe() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not callback)
            rest = tuple(other for other in self._subscribers if other is not callback)
            if len(rest) < len(self._subscribers):
                self._keep(-1)
            self._subscribers = rest

        return unsubscribe

    def subscribe_part(
        self, callback: Subscriber, prefix: str, key: str | None, only: Only | None
    ) -> Callable[[], None]:
        """As ``subscribe`` for one key, or for what is under ``prefix`` and has (``only``) one value of a field, now or
        before the change. A change of anything else costs the subscriber nothing."""
        remove = self._interests.add(PartSubscriber(callback), self._directory(prefix), key, only)
        release = self.keep()

        def unsubscribe() -> None:
            remove()
            release()

        return unsubscribe

    def on_change(self, key: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls ``changed`` at each later change of this key; returns the unsubscriber. Nothing is decoded for it."""
        return self._interests.add(Signal(changed), self.prefix, key, None)

    def keep(self) -> Callable[[], None]:
        """The objects of all entries stay decoded until the result is called."""
        self._keep(1)
        kept = [self]

        def release() -> None:
            if kept:
                kept.pop()._keep(-1)

        return release

    def _keep(self, more: int) -> None:
        self._keepers += more
        if not self._keeps_objects or isinstance(self._entries, Ended):
            return  # of a cache that was closed there is nothing to forget: watchers may end later than it
        if self._keepers:
            self._codec.follow()
        else:
            self._codec.keep = False
            for entry in self._entries.values():
                entry.forget()

    def event(self, change: Change) -> CacheEvent:
        """A change out of the store's history as an event."""
        entry = self.wrap(change.entry) if change.entry is not None else None
        previous = self.wrap(change.previous) if change.previous is not None else None
        return _event(change.revision, entry, previous)

    def _on_change(self, change: Change) -> None:
        if not self._started:
            self._starting.append(change)
            return
        if change.revision <= self._began:
            return  # told late: the cache began with a state that had it
        self._progress = max(self._progress, change.revision)
        key = change.key
        previous = self._entries.get(key)
        entry = None
        if change.entry is None:
            self._entries.pop(key)
        else:
            entry = CachedEntry(change.entry, self._codec, change.note)
            self._entries.set(key, entry)
        if self._damaged or (entry is not None and entry.damaged):
            self._note_damage(key, entry)
        self._note_version(key, change.revision)
        event = _event(change.revision, entry, previous)
        self._ring.add(event)
        if self._subscribers or self._listeners:
            self._notify(event, change.note)
        for target in self._interests.of(event):
            target.push(event)
        if previous is not None:
            previous.retire()

    def _on_missed(self, revision: int, is_there: Callable[[str], bool]) -> None:
        """What happened until ``revision`` is known only as far as it can still be seen: what went is gone, and what
        came between is for the store's history to tell, if it has it."""
        self._missed = revision, is_there
        if self._started:
            self._take_missed()

    def _take_missed(self) -> None:
        if self._missed is None:
            return
        (revision, is_there), self._missed = self._missed, None
        if revision <= self._began:
            return
        for key in [entry.key for entry in self._entries.values() if not is_there(entry.key)]:
            self._on_change(Change(key, revision, None, None))
        self._progress = max(self._progress, revision)
        self._ring.start(revision)

    def _note_damage(self, key: str, entry: CachedEntry | None) -> None:
        if entry is not None and entry.damaged:
            self._damaged.add(key)
        else:
            self._damaged.discard(key)

    def _note_version(self, key: str, revision: int) -> None:
        self._version = revision
        if len(self._versions) > _VERSIONS:
            self._versions.clear()
        end = key.find("/", len(self.prefix)) + 1
        while end:
            self._versions[key[:end]] = revision
            end = key.find("/", end) + 1

    def _notify(self, event: CacheEvent, note: object | None) -> None:
        before, after = readable(event)
        if after is not None:
            kind: ChangeType = "MODIFIED" if before is not None else "ADDED"
            shown: Obj = note if isinstance(note, dict) and not self._subscribers else after.object()
        elif before is not None:
            kind = "DELETED"
            shown = event.as_type("DELETED").object()
        else:
            return
        previous = before.object() if before is not None and self._subscribers else None
        for callback in self._subscribers:
            tell(callback, kind, shown, previous, event)
        for callback in self._listeners:
            tell(callback, kind, shown, None, event)


def _event(revision: int, entry: CachedEntry | None, previous: CachedEntry | None) -> CacheEvent:
    if entry is not None:
        return CacheEvent("ADDED" if previous is None else "MODIFIED", entry, previous, revision)
    if previous is None:
        raise ValueError(f"the deletion at revision {revision} has no previous state")
    return CacheEvent("DELETED", previous, previous, revision)
