"""The one thread that writes: gets all commits that wait, writes them as one transaction, reports to the event loop.

Owned by ``store``. It owns the writing connection and every checkpoint (which also keeps clear of SQLite's WAL-reset
bug, 3.7.0 to 3.51.2, that needs two checkpointing connections). After a failed batch it waits for the loop to undo
what had been decided on top of it, so nothing of that reaches the disk.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from sampan.records import dataclass
from sampan.store.protocol import StoreError
from sampan.store.sqlite.database import Database
from sampan.store.sqlite.files import StoreDirectory
from sampan.store.sqlite.rows import DiskFailed, DiskFull, Row

log = logging.getLogger(__name__)

_CHECKPOINT_BYTES = 4 * 1024 * 1024
#: of what the log takes besides values: a row's other columns, a batch's pages that are only partly new
_ROW_BYTES = 200
_BATCH_BYTES = 2 * 4096
#: the most that is written at once: nobody waits long, and the loop publishes it in a few milliseconds
_BATCH_ROWS = 128
_BATCH_VALUES = 4 * 1024 * 1024
#: after so many rows the index of keys is brought forward
_UNINDEXED_ROWS = 512


@dataclass(slots=True, eq=False)
class Pending:
    """A commit that is decided but not durable. ``base``: the pending commit it was decided on, if any.

    ``answer`` is the caller's: it gets None, or the error, as its result; the caller may be gone. ``waiters`` are those
    who lost to this commit. ``settled``: it is durable and visible, or has failed.
    """

    row: Row
    base: Pending | None
    note: object | None
    answer: asyncio.Future[StoreError | None]
    waiters: list[asyncio.Future[None]] | None = None
    settled: bool = False
    #: it is written in one transaction with the commit behind it, or not at all
    joined: bool = False

    def settle(self, error: StoreError | None = None) -> None:
        self.settled = True
        self.base = self.note = None
        if not self.answer.done():
            self.answer.set_result(error)
        for waiter in self.waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self.waiters = None


@dataclass(slots=True, eq=False)
class Job:
    """Something else for the writer: compaction, size. ``done`` is called on the loop with the error, if any."""

    run: Callable[[], None]
    done: Callable[[StoreError | None], None]


def _failure(raised: Exception) -> StoreError:
    """An error of the thread as the store's. One that nobody foresaw leaves the file's state unknown: it stops the
    store as a failed disk does, for a thread that ended in silence would leave every writer waiting."""
    if isinstance(raised, StoreError):
        return raised
    log.error("the store's writer failed", exc_info=raised)
    return DiskFailed("the write failed: it is a fault of this program, its log says more")


def _groups(batch: list[Pending]) -> Iterator[list[Pending]]:
    """Commits that are written together or not at all."""
    group: list[Pending] = []
    for pending in batch:
        group.append(pending)
        if not pending.joined:
            yield group
            group = []


class Writer:
    def __init__(
        self,
        database: Database,
        directory: StoreDirectory,
        loop: asyncio.AbstractEventLoop,
        written: Callable[[list[Pending]], None],
        failed: Callable[[list[Pending], StoreError, deque[Pending | Job]], None],
    ) -> None:
        """``written`` and ``failed`` run on the loop. ``failed`` also gets what waits, to remove commits from it."""
        self._database = database
        self._directory = directory
        self._loop = loop
        self._written = written
        self._failed = failed
        #: the loop's: what the thread has not been given yet
        self._waiting: deque[Pending | Job] = deque()
        self._handing_over = False
        self._busy = False
        self._closing = False
        #: to the thread: a batch, a job, or the end
        self._queue: SimpleQueue[list[Pending] | Job | None] = SimpleQueue()
        self._undone = threading.Event()
        self._log_bytes = 0
        self._unindexed = _UNINDEXED_ROWS  # what a crash left, with the first batch
        self._full = False
        #: The disk failed: nothing is written or synced any more.
        self.stopped = False
        self._thread = threading.Thread(target=self._run, name="sampan-store-writer", daemon=True)
        self._thread.start()

    # On the loop

    def submit(self, item: Pending | Job) -> None:
        self._waiting.append(item)
        self._hand_over_soon()

    async def close(self) -> None:
        """Finishes what is queued and ends the thread."""
        self._closing = True
        self._hand_over_soon()
        await asyncio.to_thread(self._thread.join)

    def _hand_over_soon(self) -> None:
        """At the end of the loop's turn, and only when the thread is done with what it has. The fewer times the two
        threads need the interpreter at once, the less either costs; and what gathers meanwhile is one batch, whose
        share of a disk's flush is small."""
        if not self._handing_over and not self._busy:
            self._handing_over = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._handing_over = False
        if self._busy:
            return
        if not self._waiting:
            if self._closing:
                self._queue.put(None)
            return
        self._busy = True
        waiting, size = self._waiting, 0
        batch: list[Pending] = []
        while waiting and ((len(batch) < _BATCH_ROWS and size < _BATCH_VALUES) or batch[-1].joined):
            item = waiting[0]
            if isinstance(item, Job):
                break
            batch.append(item)
            size += len(item.row.value or b"")
            waiting.popleft()
        if batch:
            self._queue.put(batch)
        else:
            job = waiting.popleft()
            assert isinstance(job, Job)
            self._queue.put(job)

    def _finished(self, written: list[Pending] | None = None) -> None:
        if written is not None:
            self._written(written)
        self._busy = False
        if self._waiting or self._closing:
            # Behind those who were just answered: what they write next comes along.
            self._hand_over_soon()

    def _job_done(self, job: Job, error: StoreError | None) -> None:
        try:
            job.done(error)
        finally:
            self._finished()

    # In the thread

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Job):
                    self._do(item)
                else:
                    self._write(item)
            self._index()
            self._checkpoint()
        except RuntimeError:  # the loop was closed under the store: there is nobody to report to
            log.exception("the store's writer ends")

    def _write(self, batch: list[Pending]) -> None:
        try:
            refused = self._refuse_puts(batch) if self._full else []
            if refused:
                self._report_failure(refused, DiskFull("the disk is full: only deletes are accepted"))
                batch = [pending for pending in batch if not pending.settled]
            if not batch:
                self._loop.call_soon_threadsafe(self._finished)
                return
            self._database.write([pending.row for pending in batch])
        except Exception as raised:
            error = _failure(raised)
            if isinstance(error, DiskFull):
                self._full = True
                self._directory.free_reserve()
            self._report_failure(batch, error)
            self._loop.call_soon_threadsafe(self._finished)
            self._checkpoint()  # with the room of the reserve, so that the log can be written from its start again
            return
        self._loop.call_soon_threadsafe(self._finished, batch)
        self._log_bytes += _BATCH_BYTES + sum([_ROW_BYTES + len(pending.row.value or b"") for pending in batch])
        self._unindexed += len(batch)
        if self._unindexed >= _UNINDEXED_ROWS and not self._full:
            self._index()
        if self._log_bytes >= (_CHECKPOINT_BYTES // 8 if self._full else _CHECKPOINT_BYTES):
            self._checkpoint()

    def _index(self) -> None:
        if self.stopped or not self._unindexed:
            return
        self._log_bytes += min(self._unindexed, _UNINDEXED_ROWS) * 2048
        self._unindexed = 0
        try:
            self._database.bring_forward()
        except Exception as raised:
            self._later(raised)

    def _refuse_puts(self, batch: list[Pending]) -> list[Pending]:
        """On a full disk: the batch's puts, unless there is room again. The reserve is for deletes."""
        if all(pending.row.value is None for pending in batch):
            return []
        if self._directory.has_room(self._database.free_bytes()):
            self._full = False
            self._directory.make_reserve()
            return []
        refused: list[Pending] = []
        for group in _groups(batch):
            if any(pending.row.value is not None or pending.base in refused for pending in group):
                refused.extend(group)
        return refused

    def _report_failure(self, batch: list[Pending], error: StoreError) -> None:
        self.stopped = self.stopped or isinstance(error, DiskFailed)
        self._undone.clear()
        self._loop.call_soon_threadsafe(self._undo, batch, error)
        self._undone.wait()

    def _undo(self, batch: list[Pending], error: StoreError) -> None:
        try:
            self._failed(batch, error, self._waiting)
        finally:
            self._undone.set()

    def _do(self, job: Job) -> None:
        error: StoreError | None = None
        try:
            if self.stopped:
                raise DiskFailed("nothing is written any more, for the disk failed")
            job.run()
        except Exception as raised:
            error = _failure(raised)
            if isinstance(error, DiskFailed) and not self.stopped:
                self._report_failure([], error)
        self._loop.call_soon_threadsafe(self._job_done, job, error)
        self._log_bytes += 64 * 4096
        if self._full or self._log_bytes >= _CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._log_bytes = 0
        if self.stopped:  # a failed fsync is never retried
            return
        try:
            self._database.checkpoint()
        except Exception as raised:
            self._later(raised)

    def _later(self, raised: Exception) -> None:
        """What nobody waits for failed."""
        error = _failure(raised)
        if isinstance(error, DiskFailed):
            self._report_failure([], error)
        else:
            log.warning("%s; it is tried again later", error)
