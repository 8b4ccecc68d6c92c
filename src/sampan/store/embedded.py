"""What the stores inside this process share: the index of current entries, watches, listeners, revision checks.

``memory`` and ``sqlite`` derive from it and add how a commit becomes durable and where history is read from. All of it
runs on the event loop, which is the one lock of the store: a compaction, a watch start and the publication of
a commit never overlap.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence

from sampan.store.mailbox import Mailbox
from sampan.store.protocol import Change, Compacted, Entry, FutureRevision, Listener, Range, RevisionConflict
from sampan.store.sortedmap import SortedMap

log = logging.getLogger(__name__)

WATCH_LIMIT = 10_000
_CHUNK = 500
#: directories (namespaces of resources) whose listeners are remembered
_ROUTES = 4096


def check_commit(key: str, expected: int | None, delete: bool, actual: int) -> None:
    """Raises RevisionConflict unless the key, at revision ``actual`` (0: absent), may be written."""
    if (expected is not None and expected != actual) or (delete and not actual):
        raise RevisionConflict(key, expected or 0, actual)


class EmbeddedWatch:
    """First the changes up to the watch's start out of history, then the live ones out of the queue."""

    __slots__ = ("_after", "_history_end", "_live", "_store", "prefix")

    def __init__(self, store: EmbeddedStore, prefix: str, from_revision: int, limit: int) -> None:
        self._store = store
        self.prefix = prefix
        self._after = from_revision - 1
        self._history_end = store.revision
        self._live: Mailbox[Change] = Mailbox(limit)

    def push(self, change: Change) -> None:
        if change.revision > self._after:
            self._live.put(change)

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        while self._after < self._history_end:
            if self._live.closed:
                self._live.check()
            changes = await self._store.changes(self.prefix, self._after, self._history_end, _CHUNK)
            self._after = changes[-1].revision if len(changes) == _CHUNK else self._history_end
            if changes:
                return changes
        return await self._live.take()

    def close(self) -> None:
        self._live.close()
        self._store.forget(self)

    @property
    def closed(self) -> bool:
        return self._live.closed


class EmbeddedStore(ABC):
    """Invariants: ``_entries`` is the durable state at ``_revision``; ``_oldest <= _revision``; every change after
    ``_oldest`` can be read by ``_read_changes``."""

    def __init__(
        self, entries: SortedMap[Entry] | None = None, *, revision: int = 0, oldest: int = 0, watch_limit: int
    ) -> None:
        self._entries: SortedMap[Entry] = SortedMap() if entries is None else entries
        self._revision = revision
        self._oldest = oldest
        self._watch_limit = watch_limit
        self._watches: dict[EmbeddedWatch, None] = {}
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        #: of ``_listeners``: who hears of changes in a directory, found once; and the prefixes that are no directory
        self._routes: dict[str, tuple[Listener, ...]] = {}
        self._odd_prefixes: tuple[str, ...] = ()

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def oldest(self) -> int:
        return self._oldest

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        if revision is None:
            return self._entries.get(key)
        self._check_readable(revision)
        entry = await self._entry_at(key, revision)
        self._check_readable(revision)
        return entry

    async def range(
        self, prefix: str, *, limit: int = 0, after: str | None = None, revision: int | None = None
    ) -> Range:
        if revision is None or revision == self._revision:
            entries = self._entries.values(prefix, after, limit)
            remaining = self._entries.count(prefix, after) - len(entries) if limit else 0
            return Range(entries, self._revision, remaining)
        self._check_readable(revision)
        found = await self._range_at(prefix, limit, after, revision)
        self._check_readable(revision)  # a compaction may have overtaken the reader
        return found

    async def changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        self._check_after(after)
        found = await self._read_changes(prefix, after, min(until, self._revision), limit)
        self._check_after(after)
        return found

    async def watch(self, prefix: str, from_revision: int) -> EmbeddedWatch:
        self._check_after(from_revision - 1)
        watch = EmbeddedWatch(self, prefix, from_revision, self._watch_limit)
        self._watches[watch] = None
        return watch

    def forget(self, watch: EmbeddedWatch) -> None:
        """For the watch itself, when closed."""
        self._watches.pop(watch, None)

    def add_listener(self, prefix: str, listener: Listener) -> Callable[[], None]:
        self._listeners[prefix] = (*self._listeners.get(prefix, ()), listener)
        self._forget_routes()

        def remove() -> None:
            rest = tuple(other for other in self._listeners.get(prefix, ()) if other is not listener)
            if rest:
                self._listeners[prefix] = rest
            else:
                self._listeners.pop(prefix, None)
            self._forget_routes()

        return remove

    def _forget_routes(self) -> None:
        self._routes.clear()
        self._odd_prefixes = tuple(prefix for prefix in self._listeners if prefix and not prefix.endswith("/"))

    def _listeners_of(self, key: str) -> tuple[Listener, ...]:
        """With a listener for each of a hundred resources, looking at every prefix would cost more than the commit."""
        directory = key[: key.rfind("/") + 1]
        found = self._routes.get(directory)
        if found is None:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            prefixes = [prefix for prefix in self._listeners if not prefix or prefix.endswith("/")]
            found = tuple(
                listener for prefix in prefixes if directory.startswith(prefix) for listener in self._listeners[prefix]
            )
            self._routes[directory] = found
        for prefix in self._odd_prefixes:
            if key.startswith(prefix):
                found = (*found, *self._listeners[prefix])
        return found

    async def sync(self) -> int:
        return self._revision

    @abstractmethod
    async def commit(self, key: str, expected: int | None, value: bytes | None) -> int: ...

    @abstractmethod
    async def compact(self, revision: int) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _entry_at(self, key: str, revision: int) -> Entry | None: ...

    @abstractmethod
    async def _range_at(self, prefix: str, limit: int, after: str | None, revision: int) -> Range: ...

    @abstractmethod
    async def _read_changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]: ...

    def _check_readable(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision < self._oldest:
            raise Compacted(revision, self._oldest)

    def _check_after(self, revision: int) -> None:
        if revision < self._oldest:
            raise Compacted(revision + 1, self._oldest + 1)

    def _publish(self, key: str, revision: int, entry: Entry | None) -> None:
        """Makes one durable commit visible: in the index, to listeners, then to watches."""
        previous = self._entries.get(key)
        if entry is None:
            self._entries.pop(key)
        else:
            self._entries.set(key, entry)
        change = Change(key, revision, entry, previous)
        # The revision moves before listeners run: to them, and to whoever they ask, this commit has happened.
        self._revision = revision
        self._record(change)
        for listener in self._listeners_of(key):
            try:
                listener(change)
            except Exception:  # one listener's fault must not cost the others, or the writer, the change
                log.exception("a listener failed at revision %d of %s", revision, key)
        for watch in tuple(self._watches):
            if key.startswith(watch.prefix):
                watch.push(change)
                if watch.closed:
                    self.forget(watch)

    def _record(self, change: Change) -> None:  # noqa: B027  # optional: only stores without a log keep changes
        """Keeps the change for history."""

    def _end_watches(self) -> None:
        for watch in tuple(self._watches):
            watch.close()
