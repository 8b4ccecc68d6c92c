"""``SqliteStore``: decides commits in memory, answers when they are durable, keeps history for a retention time.

A commit is checked against the newest revision of its key, the pending one included, and gets its revision at once;
the writer thread makes it durable together with all others that wait. What is visible is only what is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from sampan.api.clock import Clock
from sampan.records import dataclass
from sampan.store.embedded import Commit, EmbeddedStore, check_commit, check_distinct, check_guard
from sampan.store.expiry import check_ttl, end_of
from sampan.store.protocol import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    Guard,
    Range,
    RevisionConflict,
    StoreError,
    StoreUnavailable,
)
from sampan.store.sortedmap import SortedMap
from sampan.store.sqlite.compactor import Compactor, RetentionTimer
from sampan.store.sqlite.database import Database, Loaded
from sampan.store.sqlite.files import StoreDirectory
from sampan.store.sqlite.rows import DiskFailed, DiskFull, Row, checksum
from sampan.store.sqlite.shrinking import Shrinker
from sampan.store.sqlite.writer import Job, Pending, Writer

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept: what is older than ``seconds`` goes, and the oldest while the file is too big."""

    seconds: float = 24 * 3600
    size_bytes: int = 1 << 30
    check_every_seconds: float = 60


@dataclass(frozen=True, slots=True)
class _Opened:
    directory: StoreDirectory
    database: Database
    loaded: Loaded


def _open(path: Path, create: bool) -> _Opened:
    directory = StoreDirectory(path, create=create)
    try:
        database = Database(directory.database, directory.identity, new=directory.new, check=directory.check)
        try:
            directory.confirm(database.identity)
            return _Opened(directory, database, database.load())
        except BaseException:
            database.close()
            raise
    except BaseException:
        directory.abandon()
        directory.close()
        raise


class SqliteStore(EmbeddedStore):
    """Open with ``await SqliteStore.open(directory, ...)``.

    Invariant: ``_pending[key]`` is the newest of the key's commits that are decided and not yet settled.
    """

    def __init__(
        self,
        opened: _Opened,
        *,
        clock: Clock,
        retention: Retention,
        on_fatal: Callable[[StoreError], None] | None,
    ) -> None:
        loaded = opened.loaded
        self._clock = clock
        super().__init__(
            SortedMap(loaded.entries), revision=loaded.revision, oldest=loaded.oldest, expiries=loaded.expiries
        )
        self._retention = retention
        self._on_fatal = on_fatal
        self._directory = opened.directory
        self._database = opened.database
        self._history = opened.database.history
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(opened.database, opened.directory, self._loop, self._written, self._undo)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="sampan-store-reader")
        self._pending: dict[str, Pending] = {}
        self._assigned = loaded.revision
        self._last_ms = loaded.last_ms
        self._refusal: StoreUnavailable | None = None
        self._closed = False
        self._compactor = Compactor(self, opened.database, self._writer)
        self._shrinker = Shrinker(opened.database, self._writer)
        self._timer = RetentionTimer(retention.check_every_seconds, self.check_retention)
        self._expiry_timer.arm()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        clock: Clock,
        create: bool = True,
        retention: Retention | None = None,
        on_fatal: Callable[[StoreError], None] | None = None,
    ) -> SqliteStore:
        """Opens the store in ``directory``. Raises a StoreUnavailable that says what is wrong with it.

        ``create`` False: the store must be there. ``on_fatal`` is called once, on the event loop, when the disk
        fails: the process should end, for nothing can be written any more.
        """
        opened = await asyncio.to_thread(_open, directory, create)
        return cls(opened, clock=clock, retention=retention or Retention(), on_fatal=on_fatal)

    @property
    def identity(self) -> str:
        """The store's own id, made when it was created."""
        return self._database.identity

    # Commits

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
        check_ttl(ttl_seconds)
        if not key.isascii():
            key.encode()  # what UTF-8 cannot express must fail here, not in the writer
        while True:
            if self._refusal is not None:
                raise self._refusal
            for guard in guards:
                check_guard(key, guard, self._newest(guard.key)[0])
            base = self._pending.get(key)
            durable = self._entries.get(key)
            try:
                newest, created = self._newest(key)
                check_commit(key, expected, value is None, newest)
                break
            except RevisionConflict:
                if base is None or (expected and durable and durable.revision > expected):
                    raise
                # Lost to a write that is not yet visible: the caller would read, find nothing new, and try again.
                await self._settled(base)
        pending = self._decide(key, newest, created, value, ttl_seconds, base, note)
        self._writer.submit(pending)
        error = await pending.answer
        if error is not None:
            raise error
        return pending.row.revision

    def _newest(self, key: str) -> tuple[int, int]:
        """The revision of the key's last commit, the pending one included, and of its first; (0, 0): it is absent."""
        base = self._pending.get(key)
        if base is not None:
            return (base.row.revision, base.row.created) if base.row.created else (0, 0)
        durable = self._entries.get(key)
        return (durable.revision, durable.created) if durable else (0, 0)

    def _decide(
        self,
        key: str,
        newest: int,
        created: int,
        value: bytes | None,
        ttl_seconds: float | None,
        base: Pending | None,
        note: object | None,
    ) -> Pending:
        """Gives the commit its revision, and its place before all later ones of its key."""
        self._assigned = revision = self._assigned + 1
        now_ms = self._now_ms()
        self._last_ms = at_ms = max(self._last_ms, now_ms)
        if value is None:
            row = Row(revision, key, 0, newest, at_ms, 0, None, None)
        else:
            expires_ms = end_of(now_ms, ttl_seconds) or None
            row = Row(revision, key, created or revision, newest, at_ms, checksum(key, value), value, expires_ms)
        pending = Pending(row, base, note, self._loop.create_future())
        self._pending[key] = pending
        return pending

    async def commit_all(self, commits: Sequence[Commit]) -> list[int]:
        check_distinct(commits)
        for commit in commits:
            check_ttl(commit.ttl_seconds)
            commit.key.encode()
        await self.settled([commit.key for commit in commits])
        if self._refusal is not None:
            raise self._refusal
        found = [self._entries.get(commit.key) for commit in commits]
        for commit, durable in zip(commits, found, strict=True):
            check_commit(commit.key, commit.expected, commit.value is None, durable.revision if durable else 0)
        decided = []
        for commit, durable in zip(commits, found, strict=True):
            newest, created = (durable.revision, durable.created) if durable else (0, 0)
            decided.append(self._decide(commit.key, newest, created, commit.value, commit.ttl_seconds, None, None))
        for pending in decided[:-1]:
            pending.joined = True
        for pending in decided:
            self._writer.submit(pending)
        errors = [error for pending in decided if (error := await pending.answer) is not None]
        if errors:
            raise errors[0]
        return [pending.row.revision for pending in decided]

    async def settled(self, keys: Iterable[str]) -> None:
        wanted = list(keys)
        while waited := [pending for key in wanted if (pending := self._pending.get(key)) is not None]:
            for pending in waited:
                if not pending.settled:
                    await self._settled(pending)

    async def _settled(self, pending: Pending) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        pending.waiters = [*(pending.waiters or ()), waiter]
        await waiter

    def _written(self, batch: list[Pending]) -> None:
        for pending in batch:
            row = pending.row
            key, value = row.key, row.value
            entry = None if value is None else Entry(key, value, row.revision, row.created)
            self._publish(key, row.revision, entry, row.expires_ms or 0, pending.note)
            if self._pending.get(key) is pending:
                del self._pending[key]
        for pending in batch:
            pending.settle()

    def _undo(self, batch: list[Pending], error: StoreError, waiting: deque[Pending | Job]) -> None:
        """A batch failed: so does what was decided on top of it, and, after a disk error, all that waits."""
        fatal = isinstance(error, DiskFailed)
        failed = {id(pending): pending for pending in batch}
        kept: list[Pending | Job] = []
        for item in waiting:
            if isinstance(item, Pending) and (fatal or (item.base is not None and id(item.base) in failed)):
                failed[id(item)] = item
            else:
                kept.append(item)
        waiting.clear()
        waiting.extend(kept)
        if fatal and self._refusal is None:
            self._refusal = StoreUnavailable(f"the store accepts no more writes: {error}")
            log.critical("the store stops: %s", error)
            if self._on_fatal is not None:
                self._on_fatal(error)
        if isinstance(error, DiskFull):
            # Serving is worth more than history: an eighth of it goes, and again with the next write if need be.
            self._compactor.request_if_idle(self._oldest + (self._revision - self._oldest + 7) // 8)
        for pending in failed.values():
            self._unpend(pending, failed)
        for pending in failed.values():
            pending.settle(StoreUnavailable(str(error)))

    def _unpend(self, pending: Pending, failed: dict[int, Pending]) -> None:
        """Puts the newest commit of the key that did not fail back in its place."""
        newest = self._pending.get(pending.row.key)
        if newest is None or id(newest) not in failed:
            return
        base: Pending | None = newest
        while base is not None and id(base) in failed:
            base = base.base
        if base is None or base.settled:
            del self._pending[pending.row.key]
        else:
            self._pending[pending.row.key] = base

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    # History

    async def revision_at(self, moment: datetime) -> int:
        at_ms = int(moment.timestamp() * 1000)
        oldest = self._oldest
        if oldest and at_ms < await self._read(self._history.compacted_ms):
            raise Compacted(0, oldest)
        return await self._read(self._history.revision_at, at_ms, oldest, self._revision)

    async def problems(self) -> list[str]:
        """What an integrity check of the whole file finds: empty is good. Takes as long as reading the file."""
        return await self._read(self._history.problems)

    async def _entry_at(self, key: str, revision: int) -> Entry | None:
        return await self._read(self._history.entry_at, key, revision)

    async def _range_at(self, prefix: str, limit: int, after: str | None, revision: int) -> Range:
        return await self._read(self._history.range_at, prefix, limit, after, revision, self._entries.get)

    async def _read_changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        if after >= until:
            return ()
        return await self._read(self._history.changes, prefix, after, until, limit)

    async def _read(self, query: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        return await self._loop.run_in_executor(self._reader, partial(query, *args, **kwargs))

    # Compaction

    def set_oldest(self, revision: int) -> None:
        """For the compactor."""
        self._oldest = revision

    async def compact(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        await self._compactor.compact(revision)

    def check_retention(self) -> None:
        """Starts compaction of what need not be kept any longer, and gives back the room that an earlier one left. The
        store's own timer calls it too."""
        self._shrinker.check()
        cutoff = int((self._clock.now().timestamp() - self._retention.seconds) * 1000)
        find = partial(self._history.retention_floor, cutoff, self._retention.size_bytes, self._oldest, self._revision)
        self._loop.run_in_executor(self._reader, find).add_done_callback(self._retain)

    def _retain(self, found: asyncio.Future[int]) -> None:
        if found.cancelled() or self._closed:
            return
        error = found.exception()
        if error is None:
            self._compactor.request(found.result())
        else:
            log.warning("retention could not be checked: %s", error)

    async def raise_revision(self, revision: int) -> None:
        """Counts on from ``revision`` at the next start: after a restore, so that no revision means two things."""
        await self._do(lambda: self._database.raise_revision(revision))

    async def release_room(self) -> None:
        while await self._released(Shrinker.STEP_PAGES):
            pass

    async def _released(self, pages: int) -> bool:
        """Whether there is more."""
        left = 0

        def work() -> None:
            nonlocal left
            free = self._database.room()[1]
            left = free - pages if free and self._database.release(pages) else 0
            if left <= 0:
                self._database.checkpoint()

        await self._do(work)
        return left > 0

    async def shrink(self) -> None:
        await self._do(self._database.shrink_writer)
        await self._read(self._history.shrink)

    async def _do(self, work: Callable[[], None]) -> None:
        """In the writer thread. Raises StoreUnavailable."""
        if self._refusal is not None:
            raise self._refusal
        done: asyncio.Future[StoreError | None] = self._loop.create_future()

        def finished(error: StoreError | None) -> None:
            if not done.done():  # the caller may be gone
                done.set_result(error)

        self._writer.submit(Job(work, finished))
        error = await done
        if error is not None:
            raise error

    async def close(self) -> None:
        if self._closed:
            return
        self._refusal = self._refusal or StoreUnavailable("the store is closed")
        self._timer.close()
        self._expiry_timer.close()
        self._compactor.stop()
        self._shrinker.stop()
        await self._writer.close()
        self._closed = True
        await asyncio.to_thread(self._reader.shutdown)
        self._database.close(trusted=not self._writer.stopped)
        self._directory.close()
