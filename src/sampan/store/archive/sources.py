"""Where a backup's records come from: the file of a SQLite store, in use or not; or any store that is open here.

A ``Snapshot`` reads at the revision at which it was opened, whatever is written meanwhile: SQLite keeps that view for
a reader. It changes nothing in the file, and takes no lock that a server would miss.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sampan.store.archive.records import Extent, Record
from sampan.store.protocol import EntryDamaged, Store
from sampan.store.sqlite.database import SCHEMA_VERSION, is_store
from sampan.store.sqlite.files import DATABASE, StoreForeign, StoreMissing
from sampan.store.sqlite.rows import checksum, mapped

_COLUMNS = "revision, key, created, previous, at_ms, expires_ms, value, crc"
_ALL = f"SELECT {_COLUMNS} FROM log ORDER BY revision"  # noqa: S608  # constants only
#: the revisions of what is there now: by the index of keys, and the tail of the log that it does not know
_ALIVE = """
SELECT newest FROM (SELECT key, max(revision) AS newest, created FROM (
    SELECT key, revision, created FROM keys UNION ALL SELECT key, revision, created FROM log
    WHERE revision > (SELECT value FROM meta WHERE name = 'indexed')) GROUP BY key) WHERE created > 0
"""
_NOW = f"SELECT {_COLUMNS} FROM log WHERE revision IN ({_ALIVE}) ORDER BY revision"  # noqa: S608  # constants only
_PAGE = 500


class Snapshot:
    """A SQLite store's state at one moment. Close it soon: the server's log on disk grows while it is open."""

    def __init__(self, directory: Path, *, history: bool = True) -> None:
        """Raises StoreUnavailable: what is wrong with the store."""
        path = directory / DATABASE
        if not path.exists():
            raise StoreMissing(f"there is no store in {directory}")
        with mapped(f"cannot read {path}"):
            self._reader = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        try:
            with mapped(f"cannot read {path}"):
                if not is_store(self._reader):
                    raise StoreForeign(f"{path} is not a Sampan store")
                version = self._reader.execute("PRAGMA user_version").fetchone()[0]
                if version != SCHEMA_VERSION:
                    raise StoreForeign(
                        f"{path} was written by a{'n older' if version < SCHEMA_VERSION else ' newer'} version of "
                        "Sampan; `sampan up` of the right one opens it"
                    )
                self._reader.execute("BEGIN")
                meta = dict(self._reader.execute("SELECT name, value FROM meta"))
                last, last_ms = self._reader.execute(
                    "SELECT revision, at_ms FROM log ORDER BY revision DESC LIMIT 1"
                ).fetchone() or (0, 0)
                rows = self._reader.execute(
                    "SELECT count(*) FROM log" if history else f"SELECT count(*) FROM ({_ALIVE})"  # noqa: S608
                ).fetchone()[0]
        except BaseException:
            self._reader.close()
            raise
        self.path, self._history = path, history
        #: where the store's own history begins, whatever is read here
        self.compacted = int(meta["compact"])
        revision = max(last, int(meta["compact"]), int(meta["revision"]))
        self.extent = Extent(
            revision=revision,
            oldest=int(meta["compact"]) if history else revision,
            oldest_ms=int(meta["compact_ms"]) if history else max(last_ms, int(meta["compact_ms"])),
            identity=str(meta["identity"]),
            records=rows,
        )

    def records(self, *, trusting: bool = False) -> Iterator[Record]:
        """Raises EntryDamaged, which names the key, unless ``trusting``; StoreUnavailable."""
        with mapped(f"cannot read {self.path}"):
            for *columns, value, crc in self._reader.execute(_ALL if self._history else _NOW):
                record = Record._make((*columns, value))
                if not trusting and checksum(record.key, value) != crc:
                    raise EntryDamaged(record.key, record.revision)
                yield record

    def room(self) -> tuple[int, int]:
        """Bytes of the file, and of what holds nothing in it."""
        with mapped(f"cannot read {self.path}"):
            pages, free, size = (
                self._reader.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return pages * size, free * size

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


async def current_records(store: Store, revision: int, prefix: str = "") -> AsyncIterator[Record]:
    """The state of any store at a revision that it can still read, in the order of keys. Moments and times to live are
    not known this way. Raises Compacted, StoreUnavailable, EntryDamaged."""
    after: str | None = None
    while True:
        page = await store.range(prefix, limit=_PAGE, after=after, revision=revision)
        for entry in page.entries:
            yield Record(entry.revision, entry.key, entry.created, 0, 0, None, entry.value)
        if not page.remaining or not page.entries:
            return
        after = page.entries[-1].key
