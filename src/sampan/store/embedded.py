"""What the stores inside this process share: the index of current entries, listeners, times to live, revision checks.

``memory`` and ``sqlite`` derive from it and add how a commit becomes durable and where history is read from. All of it
runs on the event loop, which is the one lock of the store: a compaction, the start of a cache and the publication of
a commit never overlap.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from sampan.records import dataclass
from sampan.store.expiry import LOOK_AGAIN_SECONDS, Expiries, ExpiryTimer, end_of
from sampan.store.listeners import Listeners
from sampan.store.protocol import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    Guard,
    GuardFailed,
    Listener,
    Missed,
    Range,
    RevisionConflict,
    StoreError,
)
from sampan.store.sortedmap import SortedMap

log = logging.getLogger(__name__)

#: of many entries, so many are looked at in one turn of the loop
_PAGE = 1000


def check_commit(key: str, expected: int | None, delete: bool, actual: int) -> None:
    """Raises RevisionConflict unless the key, at revision ``actual`` (0: absent), may be written."""
    if (expected is not None and expected != actual) or (delete and not actual):
        raise RevisionConflict(key, expected or 0, actual)


@dataclass(frozen=True, slots=True)
class Commit:
    """One of several writes that belong together; as the parameters of ``commit``."""

    key: str
    expected: int | None
    value: bytes | None
    ttl_seconds: float | None = None


def check_distinct(commits: Sequence[Commit]) -> None:
    if len({commit.key for commit in commits}) < len(commits):
        raise ValueError("a key is written twice")


def check_guard(key: str, guard: Guard, actual: int) -> None:
    """Raises GuardFailed unless the guard's key is at the revision it is to be at; ``actual`` 0: it is absent."""
    if guard.revision != actual:
        raise GuardFailed(key, guard)


class EmbeddedStore(ABC):
    """Invariants: ``_entries`` is the durable state at ``_revision``; ``_oldest <= _revision``; every change after
    ``_oldest`` can be read by ``_read_changes``."""

    def __init__(
        self,
        entries: SortedMap[Entry] | None = None,
        *,
        revision: int = 0,
        oldest: int = 0,
        look_again_seconds: float = LOOK_AGAIN_SECONDS,
        expiries: Iterable[tuple[str, int]] = (),
    ) -> None:
        """``expiries``: of the entries, those with a time to live, and the moment of their end."""
        self._entries: SortedMap[Entry] = SortedMap() if entries is None else entries
        self._revision = revision
        self._oldest = oldest
        self._expiries = Expiries(expiries)
        self._expiry_timer = ExpiryTimer(
            self._expiries, self._now_ms, self._expire, look_again_seconds=look_again_seconds
        )
        self._listeners = Listeners()

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def oldest(self) -> int:
        return self._oldest

    def peek(self, key: str) -> Entry | None:
        """The durable entry, now."""
        return self._entries.get(key)

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

    def add_listener(self, prefix: str, listener: Listener, missed: Missed | None = None) -> Callable[[], None]:
        return self._listeners.add(prefix, listener)

    def sync_now(self) -> int | None:
        return self._revision

    async def sync(self) -> int:
        return self._revision

    @abstractmethod
    async def commit(
        self,
        key: str,
        expected: int | None,
        value: bytes | None,
        *,
        ttl_seconds: float | None = None,
        note: object | None = None,
        guards: Sequence[Guard] = (),
    ) -> int: ...

    @abstractmethod
    async def commit_all(self, commits: Sequence[Commit]) -> list[int]:
        """All or none, in one durable step, at revisions in a row: nobody commits in between. Their revisions.

        Raises RevisionConflict, for the first that does not hold, with all that won over it visible; ValueError: a key
        is there twice.
        """
        ...

    async def settled(self, keys: Iterable[str]) -> None:
        """Returns once nobody has anything under way for these keys: what is read of them, before anything else is
        waited for, is what a commit will be held against."""
        return

    def set_end(self, key: str, ttl_seconds: float | None) -> None:
        """Has an entry end so long from now, or not at all (None). Nothing is written for it: after a restart what its
        commit said holds."""
        self._expiries.set(key, end_of(self._now_ms(), ttl_seconds))
        self._expiry_timer.arm()

    @abstractmethod
    async def compact(self, revision: int) -> None: ...

    async def release_room(self) -> None:
        """Gives free room of files back to the disk. Raises StoreUnavailable."""
        return

    @abstractmethod
    async def shrink(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _entry_at(self, key: str, revision: int) -> Entry | None: ...

    @abstractmethod
    async def _range_at(self, prefix: str, limit: int, after: str | None, revision: int) -> Range: ...

    @abstractmethod
    async def _read_changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]: ...

    @abstractmethod
    def _now_ms(self) -> int:
        """The moment by which times to live are reckoned."""

    def _check_readable(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision < self._oldest:
            raise Compacted(revision, self._oldest)

    def _check_after(self, revision: int) -> None:
        if revision < self._oldest:
            raise Compacted(revision + 1, self._oldest + 1)

    def _publish(
        self, key: str, revision: int, entry: Entry | None, expires_ms: int = 0, note: object | None = None
    ) -> None:
        """Makes one durable commit visible: in the index, then to listeners."""
        previous = self._entries.get(key)
        if entry is None:
            self._entries.pop(key)
        else:
            self._entries.set(key, entry)
        change = Change(key, revision, entry, previous, note)
        # The revision moves before listeners run: to them, and to whoever they ask, this commit has happened.
        self._revision = revision
        self._record(change)
        if expires_ms or self._expiries:
            self._expiries.set(key, expires_ms)
            self._expiry_timer.arm()
        self._listeners.tell(change)

    def _record(self, change: Change) -> None:  # noqa: B027  # optional: only stores without a log keep changes
        """Keeps the change, without its note, for history."""

    async def limit_life(self, prefix: str, ttl_seconds: float) -> None:
        at_ms = end_of(self._now_ms(), ttl_seconds)
        page = self._entries.values(prefix, None, _PAGE)
        while page:
            for entry in page:
                if entry.key not in self._expiries:
                    self._expiries.set(entry.key, at_ms)
            self._expiry_timer.arm()
            await asyncio.sleep(0)
            page = self._entries.values(prefix, page[-1].key, _PAGE)

    async def expire(self) -> None:
        """Deletes what has ended by now. The store's own timer does so too."""
        await self._expiry_timer.run()

    async def _expire(self, keys: list[str]) -> list[str]:
        wanted = [(key, entry.revision) for key in keys if (entry := self._entries.get(key)) is not None]
        # At its revision: what was written in the meantime has its own time to live, or none.
        commits = (self.commit(key, revision, None) for key, revision in wanted)
        failed: list[str] = []
        for (key, _), result in zip(wanted, await asyncio.gather(*commits, return_exceptions=True), strict=True):
            if isinstance(result, StoreError) and not isinstance(result, RevisionConflict):
                log.warning("%s has ended and could not be deleted: %s", key, result)
                failed.append(key)
        return failed
