"""Compaction in small steps through the writer thread, and the retention that asks for it. Runs on the event loop.

Used by ``store``. Each step is one bounded transaction between two batches of commits. The floor below which readers
are refused rises before a step's rows go, and falls back to the truth when the step fails: a failure costs nothing
but room, and the next check tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from sampan.store.protocol import StoreError, StoreUnavailable
from sampan.store.sqlite.database import Database
from sampan.store.sqlite.writer import Job, Writer

log = logging.getLogger(__name__)

_STEP = 500


class Floor(Protocol):
    """What the compactor may move: the store's oldest readable revision."""

    @property
    def oldest(self) -> int: ...

    def set_oldest(self, revision: int) -> None: ...


class Compactor:
    def __init__(self, floor: Floor, database: Database, writer: Writer) -> None:
        self._floor = floor
        self._database = database
        self._writer = writer
        self._target = 0
        self._running = False
        self._stopped = False
        self._waiting: list[tuple[int, asyncio.Future[StoreError | None]]] = []

    def request(self, revision: int) -> None:
        """Goes for it in the background."""
        self._target = max(self._target, revision)
        if not self._running and not self._stopped:
            self._step()

    def request_if_idle(self, revision: int) -> None:
        if not self._running:
            self.request(revision)

    async def compact(self, revision: int) -> None:
        """Returns when it is done. Raises StoreUnavailable when a step failed."""
        if self._stopped:
            raise StoreUnavailable("the store is closed")
        done: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, done))
        self.request(revision)
        error = await done
        if error is not None:
            raise StoreUnavailable(str(error)) from error

    def stop(self) -> None:
        self._stopped = True
        self._settle(StoreUnavailable("the store is closed"))

    def _step(self) -> None:
        oldest = self._floor.oldest
        self._settle(None)
        self._running = oldest < self._target and not self._stopped
        if not self._running:
            return
        until = min(oldest + _STEP, self._target)
        self._floor.set_oldest(until)

        def done(error: StoreError | None) -> None:
            if error is None:
                self._step()
                return
            log.warning("%s; revisions from %d on are still there", error, oldest)
            self._floor.set_oldest(oldest)
            self._running, self._target = False, 0
            self._settle(error)

        self._writer.submit(Job(lambda: self._database.compact(oldest, until), done))

    def _settle(self, error: StoreError | None) -> None:
        """Answers the callers who have what they asked for, or, with an error, all of them."""
        waiting, self._waiting = self._waiting, []
        for revision, done in waiting:
            if error is None and revision > self._floor.oldest:
                self._waiting.append((revision, done))
            elif not done.done():
                done.set_result(error)


class RetentionTimer:
    """Calls ``check`` every so often until closed. A plain timer: an idle store has no task."""

    def __init__(self, seconds: float, check: Callable[[], None]) -> None:
        self._seconds = seconds
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(seconds, self._fire)

    def _fire(self) -> None:
        self._handle = self._loop.call_later(self._seconds, self._fire)
        self._check()

    def close(self) -> None:
        self._handle.cancel()
