"""Room that compaction left goes back to the disk: pages from the file's end, in small steps through the writer thread.

Used by ``store``. What is free is needed again soon where a cluster is busy, so some of it stays: moving it out and in
would cost more than it takes. A file made before files could give room back keeps it until ``vacuum`` (``sampan
store shrink``) has made it anew.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sampan.records import dataclass
from sampan.store.protocol import StoreError
from sampan.store.sqlite.database import Database, open_for_upkeep
from sampan.store.sqlite.files import StoreDirectory
from sampan.store.sqlite.rows import mapped
from sampan.store.sqlite.writer import Job, Writer

log = logging.getLogger(__name__)

#: moved in one step: so long do commits wait, some ten milliseconds
_STEP_PAGES = 256
_PAGE_BYTES = 4096
#: It begins where this much, and this part of the file, is free, and ends at half of both.
_FREE_BYTES = 16 * 1024 * 1024
_FREE_PART = 0.25


@dataclass(frozen=True, slots=True)
class Room:
    """Pages of the file, and how many of them hold nothing."""

    pages: int
    free: int

    def pages_to_release(self, *, begun: bool) -> int:
        """0: what is free may stay."""
        least = max(_FREE_BYTES // _PAGE_BYTES, int(self.pages * _FREE_PART))
        spare = self.free - (least // 2 if begun else least)
        return 0 if spare <= 0 else min(_STEP_PAGES, spare)


class Shrinker:
    """Owned by the store; on its event loop."""

    STEP_PAGES = _STEP_PAGES

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._running = False
        self._stopped = False

    def check(self) -> None:
        """Begins, where there is reason to."""
        if not self._running and not self._stopped:
            self._running = True
            self._step(begun=False)

    def stop(self) -> None:
        self._stopped = True

    def _step(self, *, begun: bool) -> None:
        more = False

        def work() -> None:
            nonlocal more
            pages = Room(*self._database.room()).pages_to_release(begun=begun)
            more = pages > 0 and self._database.release(pages)
            if begun and not more:  # only then is the file itself cut
                self._database.checkpoint()

        def done(error: StoreError | None) -> None:
            if error is not None:
                log.warning("the file could not be made smaller: %s", error)
            if error is None and more and not self._stopped:
                self._step(begun=True)
            else:
                self._running = False

        self._writer.submit(Job(work, done))


def vacuum(directory: Path) -> tuple[int, int]:
    """Makes the file of a store that nobody has open anew, without free room; gives its bytes before and after. Needs
    as much room again meanwhile. Raises StoreUnavailable, with the file as it was."""
    opened = StoreDirectory(directory, create=False)
    try:
        before = opened.database.stat().st_size
        with mapped(f"cannot shrink {opened.database}"):
            connection = open_for_upkeep(opened.database)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.close()
        return before, opened.database.stat().st_size
    finally:
        opened.close()
