"""The one thread that writes: takes all commits that wait, writes them as one transaction, reports to the event loop.

Owned by ``store``. It owns the writing connection and every checkpoint (which also keeps clear of SQLite's WAL-reset
bug, 3.7.0 to 3.51.2, that needs two checkpointing connections). After a failed batch it waits for the loop to undo
what had been decided on top of it, so nothing of that reaches the disk.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from sampan.store.protocol import StoreError
from sampan.store.sqlite.database import Database, DiskFailed, DiskFull, Row
from sampan.store.sqlite.files import StoreDirectory

log = logging.getLogger(__name__)

_CHECKPOINT_BYTES = 4 * 1024 * 1024
#: Of what a row costs in the log besides its value: pages of the table, the index and ``current``.
_ROW_OVERHEAD = 3 * 4096
_BATCH = 1000


@dataclass(slots=True, eq=False)
class Pending:
    """A commit that is decided but not durable. ``base``: the pending commit it was decided on, if any.

    ``settled`` gets None, or the error, as its result: a caller may be gone, and errors nobody fetches are noise.
    """

    row: Row
    base: Pending | None
    note: object | None
    settled: asyncio.Future[StoreError | None]


@dataclass(slots=True, eq=False)
class Job:
    """Something else for the writer: compaction, size. ``done`` is called on the loop with the error, if any."""

    run: Callable[[], None]
    done: Callable[[StoreError | None], None]


class Writer:
    def __init__(
        self,
        database: Database,
        directory: StoreDirectory,
        loop: asyncio.AbstractEventLoop,
        written: Callable[[list[Pending]], None],
        failed: Callable[[list[Pending], StoreError, SimpleQueue[Pending | Job | None]], None],
    ) -> None:
        """``written`` and ``failed`` run on the loop. ``failed`` also gets the queue, to remove commits from it."""
        self._database = database
        self._directory = directory
        self._loop = loop
        self._written = written
        self._failed = failed
        self._queue: SimpleQueue[Pending | Job | None] = SimpleQueue()
        self._undone = threading.Event()
        self._log_bytes = 0
        self._full = False
        #: The disk failed: nothing is written or synced any more.
        self.stopped = False
        self._thread = threading.Thread(target=self._run, name="sampan-store-writer", daemon=True)
        self._thread.start()

    def submit(self, item: Pending | Job) -> None:
        self._queue.put(item)

    async def close(self) -> None:
        """Finishes what is queued and ends the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        waiting: Job | None = None
        going_on = True
        while going_on:
            batch: list[Pending] = []
            item = self._queue.get()
            try:
                while isinstance(item, Pending):
                    batch.append(item)
                    if len(batch) == _BATCH:
                        break
                    item = self._queue.get_nowait()
                else:
                    waiting, going_on = item, item is not None
            except Empty:
                pass  # all that waited is in the batch
            try:
                if batch:
                    self._write(batch)
                if waiting is not None:
                    self._do(waiting)
                    waiting = None
                if not going_on:
                    self._checkpoint()
            except RuntimeError:  # the loop was closed under the store: there is nobody to report to
                log.exception("the store's writer ends")
                return

    def _write(self, batch: list[Pending]) -> None:
        refused = self._refuse_puts(batch) if self._full else []
        if refused:
            self._report_failure(refused, DiskFull("the disk is full: only deletes are accepted"))
            batch = [pending for pending in batch if not pending.settled.done()]
            if not batch:
                return
        try:
            self._database.write([pending.row for pending in batch])
        except StoreError as error:
            if isinstance(error, DiskFull):
                self._full = True
                self._directory.free_reserve()
            self._report_failure(batch, error)
            self._checkpoint()  # with the room of the reserve, so that the log can be written from its start again
            return
        except Exception as error:  # our bug; the state of the file is unknown, so it stops as for a failed disk
            log.exception("the store's writer failed")
            self._report_failure(batch, DiskFailed(f"the write failed: {error!r}"))
            return
        self._loop.call_soon_threadsafe(self._written, batch)
        self._log_bytes += sum(_ROW_OVERHEAD + len(pending.row.value or b"") for pending in batch)
        if self._log_bytes >= (_CHECKPOINT_BYTES // 8 if self._full else _CHECKPOINT_BYTES):
            self._checkpoint()

    def _refuse_puts(self, batch: list[Pending]) -> list[Pending]:
        """On a full disk: the batch's puts, unless there is room again. The reserve is for deletes."""
        if all(pending.row.value is None for pending in batch):
            return []
        if self._directory.has_room(self._database.free_bytes()):
            self._full = False
            self._directory.make_reserve()
            return []
        refused: list[Pending] = []
        for pending in batch:
            if pending.row.value is not None or pending.base in refused:
                refused.append(pending)
        return refused

    def _report_failure(self, batch: list[Pending], error: StoreError) -> None:
        self.stopped = self.stopped or isinstance(error, DiskFailed)
        self._undone.clear()
        self._loop.call_soon_threadsafe(self._undo, batch, error)
        self._undone.wait()

    def _undo(self, batch: list[Pending], error: StoreError) -> None:
        try:
            self._failed(batch, error, self._queue)
        finally:
            self._undone.set()

    def _do(self, job: Job) -> None:
        error: StoreError | None = None
        try:
            job.run()
        except StoreError as raised:
            error = raised
            if isinstance(error, DiskFailed):
                self._report_failure([], error)
        self._loop.call_soon_threadsafe(job.done, error)
        self._log_bytes += 64 * _ROW_OVERHEAD
        if self._full or self._log_bytes >= _CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._log_bytes = 0
        if self.stopped:  # a failed fsync is never retried
            return
        try:
            self._database.checkpoint()
        except DiskFull as error:
            log.warning("%s; it is tried again later", error)
        except DiskFailed as error:
            self._report_failure([], error)
