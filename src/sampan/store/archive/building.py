"""A new SQLite store made of records: what a restore and a move put in place. Synchronous.

It is built in a directory of its own, so that whoever is interrupted leaves nothing that could be taken for a store;
the caller renames it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from sampan.store.archive.records import Extent, Record
from sampan.store.sqlite.database import Database
from sampan.store.sqlite.files import StoreDirectory
from sampan.store.sqlite.rows import Row, checksum

_ROWS = 1000
_BYTES = 8 * 1024 * 1024


def build(
    directory: Path, records: Iterable[Record], extent: Extent, progress: Callable[[int], None] = lambda count: None
) -> str:
    """Makes the store in an empty directory and gives its identity. Its next commit is ``extent.revision`` + 1, and
    nothing before ``extent.oldest`` can be read. Raises StoreUnavailable, and what ``records`` raises."""
    opened = StoreDirectory(directory, create=True)
    try:
        database = Database(opened.database, opened.identity, new=True)
        try:
            written = 0
            for rows in _batches(records):
                database.write(rows)
                database.checkpoint()
                written += len(rows)
                progress(written)
            database.begin_at(extent.revision, extent.oldest, extent.oldest_ms)
            database.bring_forward()
            database.checkpoint()
            opened.confirm(database.identity)
            return database.identity
        finally:
            database.close()
    finally:
        opened.close()


def _batches(records: Iterable[Record]) -> Iterator[list[Row]]:
    rows: list[Row] = []
    size = 0
    for record in chain(records, (None,)):
        if record is not None:
            value = record.value
            rows.append(
                Row(
                    record.revision,
                    record.key,
                    record.created,
                    record.previous,
                    record.at_ms,
                    checksum(record.key, value),
                    value,
                    record.expires_ms,
                )
            )
            size += len(value or b"")
        if rows and (record is None or len(rows) == _ROWS or size > _BYTES):
            yield rows
            rows, size = [], 0
