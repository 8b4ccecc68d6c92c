"""The contract of a store (docs/architecture.md, section 4). Vocabulary is etcd's: key, revision, compaction.

Rules that every implementation keeps, and tests/store holds it to:

* One counter for the whole store. Every commit takes the next revision; revisions are never reused or lowered,
  not by a crash, a compaction or an empty store after deletes.
* A commit is answered, and watchers are told, only once it is durable.
* ``range`` and ``get`` at a revision see exactly the state after that revision's commit.
* A listener is told of every later change under its prefix once, in revision order. Together with ``changes`` a watch
  of any start can be made: what happened until the listener was added, then what it is told.
* An entry with a time to live is deleted at its end by a commit like any other, even if that passed while the store
  was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from sampan.records import dataclass


class StoreError(Exception):
    """Base of the store's errors."""


class RevisionConflict(StoreError):
    """The key is not at the expected revision: a normal outcome of a lost race. ``actual`` 0: the key is absent."""

    def __init__(self, key: str, expected: int, actual: int) -> None:
        super().__init__(f"{key}: expected revision {expected}, found {actual}")
        self.key, self.expected, self.actual = key, expected, actual


class GuardFailed(StoreError):
    """Another key, which the commit hung on, is not at the revision that it was to be at. Nothing was written."""

    def __init__(self, key: str, guard: Guard) -> None:
        super().__init__(f"{key}: {guard.key} is no longer at revision {guard.revision}")
        self.key, self.guard = key, guard


class Compacted(StoreError):
    """History at this revision is gone. ``oldest`` is the oldest revision that can still be read."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is compacted; the oldest is {oldest}")
        self.revision, self.oldest = revision, oldest


class FutureRevision(StoreError):
    """The asked-for revision has not happened yet."""

    def __init__(self, revision: int, current: int) -> None:
        super().__init__(f"revision {revision} is in the future; the current one is {current}")
        self.revision, self.current = revision, current


class WatchOverflow(StoreError):
    """The watcher did not keep up with its bounded queue and was cut off: list again."""


class StoreUnavailable(StoreError):
    """The write was not made durable (disk full, disk error). Nothing of it is visible."""


class OutcomeUnknown(StoreUnavailable):
    """The store did not answer in time: the write may have happened, or not. Only where the store is elsewhere."""


class ValueTooLarge(StoreError):
    """The store takes no value as long as this one: no retry can help."""


class EntryDamaged(StoreError):
    """What the disk holds for this key is not what was written. Other keys are not affected; a delete still works."""

    def __init__(self, key: str, revision: int) -> None:
        super().__init__(f"{key}: the stored value of revision {revision} is damaged (checksum)")
        self.key, self.revision = key, revision


# Entry and Change are not to be changed either; a frozen class of five fields takes three times as long to make.


@dataclass(slots=True)
class Entry:
    """A key's value as of one commit. ``revision`` is of the last change, ``created`` of the first since absent."""

    key: str
    value: bytes
    revision: int
    created: int


class DamagedEntry(Entry):
    """An entry whose value cannot be read: ``value`` raises EntryDamaged, all else is as usual."""

    __slots__ = ()

    def __init__(self, key: str, revision: int, created: int) -> None:
        self.key, self.revision, self.created = key, revision, created

    @property
    def value(self) -> bytes:  # type: ignore[override]  # whoever reads it hears what is wrong
        raise EntryDamaged(self.key, self.revision)

    def __repr__(self) -> str:
        return f"DamagedEntry({self.key!r}, revision={self.revision})"


@dataclass(slots=True)
class Change:
    """One commit as watchers see it. ``entry`` None: deleted at ``revision``; ``previous`` is what the key held.

    ``note``: what the writer in this process said of it. Listeners alone are told, history does not keep it.
    """

    key: str
    revision: int
    entry: Entry | None
    previous: Entry | None
    note: object | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """A commit happens only while ``key`` is at ``revision`` (0: absent)."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Range:
    """A page of entries in key order, all as of ``revision``. ``remaining``: how many more match after the page."""

    entries: Sequence[Entry]
    revision: int
    remaining: int


#: Called on the event loop for each durable change, in revision order. Must not block.
Listener: TypeAlias = Callable[[Change], None]
#: Called where a store could not tell of each change, after those it could: with the revision that listeners know now,
#: and what says whether a key is there at it.
Missed: TypeAlias = Callable[[int, Callable[[str], bool]], None]


class Store(Protocol):
    @property
    def revision(self) -> int:
        """The newest durable revision."""
        ...

    @property
    def oldest(self) -> int:
        """The oldest revision that ``range(revision=...)`` can still read; ``changes`` reads what came after it."""
        ...

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        """The entry now (durable), or as of ``revision``. Raises Compacted, FutureRevision."""
        ...

    async def range(
        self, prefix: str, *, limit: int = 0, after: str | None = None, revision: int | None = None
    ) -> Range:
        """Entries whose key starts with ``prefix`` and sorts after ``after``; ``limit`` 0: all.

        Raises Compacted, FutureRevision.
        """
        ...

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
        """Writes (or deletes: ``value`` None) and returns the commit's revision, once durable.

        ``expected``: the revision the key must be at, 0: must be absent, None: any. A delete of an absent key raises
        RevisionConflict. Raises RevisionConflict only once the write that won is durable, so that whoever reads again
        sees it; StoreUnavailable, ValueTooLarge. Once it returns, listeners have been called, where ``sync_now`` gives
        a revision: a cache in this process shows the write. Elsewhere they may be told later, and ``sync`` waits until
        they were.

        ``ttl_seconds``: the entry is deleted so long after this commit, unless written again before: each commit sets
        its own, or none. ValueError: it is not above 0. ``note`` reaches the listeners of this process as it is.
        ``guards`` are looked at in the same moment as ``expected``, and first. Raises GuardFailed.
        """
        ...

    async def changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        """The first ``limit`` changes with ``after < revision <= until`` under ``prefix``, in revision order.

        More where others share the last one's revision (a transaction of somebody else's at etcd). May be fewer where
        they are large; none: there are no more. Raises Compacted when ``after < oldest``.
        """
        ...

    def add_listener(self, prefix: str, listener: Listener, missed: Missed | None = None) -> Callable[[], None]:
        """Calls ``listener`` for each later change under ``prefix``; returns the remover.

        An exception of one is logged, and ends there. Only a store that is elsewhere calls ``missed``.
        """
        ...

    def sync_now(self) -> int | None:
        """What ``sync`` would give, where it need not wait; None: somebody else may have committed."""
        ...

    async def sync(self) -> int:
        """Returns once listeners know everything that anyone committed before this call; that revision.

        At once where this process is the only writer.
        """
        ...

    async def limit_life(self, prefix: str, ttl_seconds: float) -> None:
        """Has entries under ``prefix`` that were written without a time to live end so long from now.

        Nothing is written for it: it holds until the store is closed.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forgets history before ``revision``: the state at ``revision`` and later stays readable."""
        ...

    async def shrink(self) -> None:
        """Gives back memory that only makes things quicker, such as pages of a file. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finishes pending commits, releases files."""
        ...


class TimeTravel(Protocol):
    """What a store that keeps the moment of each revision offers besides."""

    async def revision_at(self, moment: datetime) -> int:
        """The newest revision committed at or before ``moment``. Raises Compacted when that is no longer known."""
        ...
