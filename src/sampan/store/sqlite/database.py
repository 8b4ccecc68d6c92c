"""The SQL of the SQLite store: schema, the write transaction, compaction, history queries. Plain and synchronous.

A ``Database`` has one writing connection, used by the writer thread only, and one read-only connection, used by one
reader thread. The only module that knows SQL and SQLite's error codes. Decides nothing about revisions.

``log`` has a row a commit: ``value`` NULL and ``created`` 0 is a delete, ``previous`` the revision that the commit
replaced (0: none), ``at_ms`` the moment, never falling, ``expires_ms`` the moment at which the entry is to be deleted,
NULL: never. A batch of commits is one statement that appends to it.

``keys`` finds the revisions of a key. It is brought forward now and then, up to the revision ``indexed`` in ``meta``,
for that costs a fraction of an index that each commit changes. What came after, the *tail* of the log, is short, and
every query looks at both.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from sampan.store.protocol import Change, DamagedEntry, Entry, Range, StoreUnavailable
from sampan.store.sortedmap import LAST
from sampan.store.sqlite.files import StoreCorrupt, StoreForeign

_APPLICATION_ID = 0x53414D50  # "SAMP"
_SCHEMA_VERSION = 3
_KEYS = """
CREATE TABLE keys (key TEXT NOT NULL, revision INTEGER NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY (key, revision)) WITHOUT ROWID;
INSERT INTO meta VALUES ('indexed', 0);
"""
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
    previous INTEGER NOT NULL, at_ms INTEGER NOT NULL, crc INTEGER NOT NULL, value BLOB, expires_ms INTEGER);
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
INSERT INTO meta VALUES ('revision', 0), ('compact', 0), ('compact_ms', 0);
{_KEYS}
"""  # noqa: S608  # constants only
_BRING_FORWARD = """
INSERT INTO keys SELECT key, revision, created FROM log
    WHERE revision > (SELECT value FROM meta WHERE name = 'indexed') ORDER BY key, revision;
UPDATE meta SET value = max(value, (SELECT coalesce(max(revision), 0) FROM log)) WHERE name = 'indexed';
"""
#: what makes a file of the version before into one of each version
_MIGRATIONS = {
    2: "ALTER TABLE log ADD COLUMN expires_ms INTEGER;",
    3: f"{_KEYS} {_BRING_FORWARD} DROP INDEX log_key; DROP TABLE current;",
}
#: Up to so many rows have a statement of their own, which stays compiled; SQLite keeps what was last bound to each,
#: so they take no more than so many bytes of values either.
_PLAIN_ROWS = 32
_PLAIN_BYTES = 64 * 1024
_PLAIN = {size: f"INSERT INTO log VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?)'] * size)}" for size in range(33)}  # noqa: S608  # constants only
#: any number of rows: the values are one run of bytes, the rest is JSON that says where each begins
_PACKED = (
    "INSERT INTO log SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),"
    " json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), CASE WHEN"
    " json_extract(value, '$[2]') THEN substr(?2, json_extract(value, '$[6]'), json_extract(value, '$[7]')) END,"
    " json_extract(value, '$[8]') FROM json_each(?1)"
)
#: what is bound to the statement above is let go at once when it is larger than this
_BOUND_BYTES = 256 * 1024
_ENTRY = "revision, key, created, crc, value"
_REPLACED = "FROM log WHERE revision > ? AND revision <= ? AND previous > 0"
_DELETES = "FROM log WHERE revision > ? AND revision <= ? AND created = 0"
_FORGET = (
    f"DELETE FROM keys WHERE (key, revision) IN (SELECT key, previous {_REPLACED})",  # noqa: S608  # constants only
    f"DELETE FROM keys WHERE (key, revision) IN (SELECT key, revision {_DELETES})",  # noqa: S608  # constants only
    f"DELETE FROM log WHERE revision IN (SELECT previous {_REPLACED})",  # noqa: S608  # constants only
    f"DELETE {_DELETES}",
)
#: the keys of a span as of a revision; all inside ``keys``
_NEWEST = (
    "SELECT key, max(revision) AS newest, created FROM keys"
    " WHERE key >= ? AND key > ? AND key < ? AND revision <= ? GROUP BY key HAVING created > 0"
)


class DiskFull(StoreUnavailable):
    """No room. Nothing was written; a later write may succeed."""


class DiskFailed(StoreUnavailable):
    """The disk's or the file's state is unknown: nothing may be written any more."""


class Row(NamedTuple):
    """One commit as written: the columns of ``log``."""

    revision: int
    key: str
    created: int
    previous: int
    at_ms: int
    crc: int
    value: bytes | None
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Loaded:
    entries: list[tuple[str, Entry]]
    revision: int
    oldest: int
    last_ms: int
    expiries: list[tuple[str, int]]


def checksum(key: str, value: bytes | None) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode())) if value is not None else 0


def _entry(revision: int, key: str, created: int, crc: int, value: bytes) -> Entry:
    if not isinstance(value, bytes) or checksum(key, value) != crc:
        return DamagedEntry(key, revision, created)
    return Entry(key, value, revision, created)


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """SQLite's errors as ours. Unknown ones are the fatal kind: after a failed fsync no retry may be trusted."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        if name in ("SQLITE_FULL", "SQLITE_NOMEM", "SQLITE_TOOBIG", "SQLITE_BUSY"):
            raise DiskFull(f"{what}: {error}") from error
        raise DiskFailed(f"{what}: {error} ({name})") from error


class Database:
    def __init__(self, path: Path, identity: str, *, new: bool) -> None:
        self.path = path
        self._reader: sqlite3.Connection | None = None
        try:
            if new:  # with Secrets inside; SQLite gives its side files the same mode
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=_PLAIN_ROWS + 32,
            )
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
        try:
            self.identity = self._open(identity, new)
            self._reader = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            # Attached from the first read on: see ``close``.
            self._reader.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.Error as error:
            self.close()
            name = getattr(error, "sqlite_errorname", "")
            if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                raise StoreCorrupt(f"{path} is not a readable database: {error}") from error
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
        except StoreUnavailable:
            self._writer.close()
            raise

    def _open(self, identity: str, new: bool) -> str:
        run = self._writer.execute
        if not new and self._pragma("application_id") != _APPLICATION_ID:
            # A crash between creating the file and its schema leaves no table; nothing was ever acknowledged.
            if run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreForeign(f"{self.path} is not a Sampan store")
            new = True
        if not new and self._pragma("user_version") > _SCHEMA_VERSION:
            raise StoreForeign(f"{self.path} was written by a newer version of Sampan")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA wal_autocheckpoint = 0")  # the writer decides when
        run("PRAGMA journal_size_limit = 16777216")
        if not new:
            self._migrate(self._pragma("user_version"))
        if new:
            self._writer.executescript(_SCHEMA)
            run("INSERT INTO meta VALUES ('identity', ?)", (identity,))
            run("COMMIT")
        found: str = run("SELECT value FROM meta WHERE name = 'identity'").fetchone()[0]
        return found

    def _migrate(self, found: int) -> None:
        for version in range(found + 1, _SCHEMA_VERSION + 1):
            self._run_script(f"{_MIGRATIONS[version]} PRAGMA user_version = {version};")

    def _run_script(self, sql: str) -> None:
        """All of it or nothing."""
        try:
            self._writer.executescript(f"BEGIN IMMEDIATE; {sql} COMMIT;")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _pragma(self, name: str) -> int:
        value: int = self._writer.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    # Start

    def load(self) -> Loaded:
        """The durable state. A value that fails its checksum loads as a DamagedEntry."""
        run = self._writer.execute
        with _mapped(f"cannot read {self.path}"):
            meta = dict(run("SELECT name, value FROM meta"))
            last, last_ms = run("SELECT revision, at_ms FROM log ORDER BY revision DESC LIMIT 1").fetchone() or (0, 0)
            entries, expiries = self._load_entries()
        return Loaded(
            entries,
            revision=max(last, int(meta["compact"]), int(meta["revision"])),
            oldest=int(meta["compact"]),
            last_ms=max(last_ms, int(meta["compact_ms"])),
            expiries=expiries,
        )

    def _load_entries(self) -> tuple[list[tuple[str, Entry]], list[tuple[str, int]]]:
        indexed = self._writer.execute("SELECT value FROM meta WHERE name = 'indexed'").fetchone()[0]
        entries: dict[str, Entry] = {}
        expiries: dict[str, int] = {}
        rows = f"SELECT {_ENTRY}, expires_ms FROM log"  # noqa: S608  # constants only
        newest = "SELECT key, max(revision) AS newest, created FROM keys GROUP BY key HAVING created > 0"
        joined = (
            "SELECT l.revision, l.key, l.created, l.crc, l.value, l.expires_ms"  # noqa: S608  # constants only
            f" FROM ({newest}) k CROSS JOIN log l ON l.revision = k.newest"
        )
        try:
            for *row, expires_ms in self._writer.execute(joined):
                entries[row[1]] = _entry(*row)
                if expires_ms:
                    expiries[row[1]] = expires_ms
        except sqlite3.DatabaseError:  # what cannot be read has no end either
            found = self._writer.execute(newest)
            entries = {key: self._load_one(key, revision) for key, revision, _ in found}
        for *row, expires_ms in self._writer.execute(f"{rows} WHERE revision > ? ORDER BY revision", (indexed,)):
            key = row[1]
            entries.pop(key, None)
            expiries.pop(key, None)
            if row[2]:
                entries[key] = _entry(*row)
            if expires_ms:
                expiries[key] = expires_ms
        return list(entries.items()), list(expiries.items())

    def _load_one(self, key: str, revision: int) -> Entry:
        """For a file with a damaged page: the rows on other pages can still be read."""
        try:
            row = self._writer.execute(f"SELECT {_ENTRY} FROM log WHERE revision = ?", (revision,)).fetchone()  # noqa: S608  # constants only
        except sqlite3.DatabaseError:
            row = None
        # Without its row the first revision is unknown; the last one is as good for a precondition.
        return _entry(*row) if row and row[1] == key else DamagedEntry(key, revision, revision)

    # The writer thread

    def write(self, rows: Sequence[Row]) -> None:
        """One durable transaction. Raises DiskFull (nothing happened) or DiskFailed (stop).

        It is a single statement. Each one lets go of the interpreter lock, and getting it back from a busy event loop
        takes longer than writing the rows.
        """
        size = sum([len(row.value) for row in rows if row.value])
        with _mapped("the write failed"):
            if len(rows) <= _PLAIN_ROWS and size <= _PLAIN_BYTES:
                self._writer.execute(_PLAIN[len(rows)], list(chain.from_iterable(rows)))
                return
            places: list[tuple[object, ...]] = []
            at = 2  # behind a byte that is always there: of nothing at all, SQLite's ``substr`` makes NULL
            for row in rows:
                length = len(row.value or b"")
                places.append((*row[:6], at, length, row.expires_ms))
                at += length
            values = b"".join([b"\0", *[row.value for row in rows if row.value]])
            self._writer.execute(_PACKED, (orjson.dumps(places).decode(), values))
            if size > _BOUND_BYTES:
                self._writer.execute(_PACKED, ("[]", b""))

    def bring_forward(self) -> None:
        """Has ``keys`` know all of the log. Raises as ``write``."""
        with _mapped("the write failed"):
            self._run_script(_BRING_FORWARD)

    def compact(self, oldest: int, until: int) -> None:
        """Forgets what only revisions in ``[oldest, until)`` need. Bounded by the caller, who picks ``until``."""
        self.bring_forward()
        span = (oldest, until)
        with _mapped("compaction failed"), self._transaction() as run:
            moment = run.execute("SELECT max(at_ms) FROM log WHERE revision > ? AND revision <= ?", span).fetchone()[0]
            for sql in _FORGET:
                run.execute(sql, span)
            run.execute("UPDATE meta SET value = ? WHERE name = 'compact'", (until,))
            if moment is not None:
                run.execute("UPDATE meta SET value = ? WHERE name = 'compact_ms'", (moment,))

    def raise_revision(self, revision: int) -> None:
        """Makes the next start count on from ``revision``: after a restore."""
        with _mapped("the write failed"), self._transaction() as run:
            run.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'revision'", (revision,))

    def checkpoint(self) -> None:
        """Moves the log's pages into the file, as far as readers let it. Raises as ``write``."""
        with _mapped("the checkpoint failed"):
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def shrink_writer(self) -> None:
        with _mapped("memory cannot be given back"):
            self._writer.execute("PRAGMA shrink_memory").fetchone()

    def free_bytes(self) -> int:
        """Room inside the file that deletes and compaction left."""
        with _mapped("cannot read the size"):
            return self._pragma("freelist_count") * self._pragma("page_size")

    def limit_pages(self, pages: int) -> None:
        """A ceiling on the file's size, as a quota: writes beyond it fail with DiskFull."""
        self._writer.execute(f"PRAGMA max_page_count = {int(pages)}").fetchone()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:  # SQLite rolls some failures back by itself
                self._writer.execute("ROLLBACK")
            raise

    # The reader thread

    def entry_at(self, key: str, revision: int) -> Entry | None:
        with self._snapshot():
            indexed = self._indexed()
            rows = self._read(
                f"SELECT {_ENTRY} FROM log WHERE revision > ? AND revision <= ? AND key = ?"  # noqa: S608  # constants only
                " ORDER BY revision DESC LIMIT 1",
                (indexed, revision, key),
            ) or self._read(
                f"SELECT {_ENTRY} FROM log"  # noqa: S608  # constants only
                " WHERE revision = (SELECT max(revision) FROM keys WHERE key = ? AND revision <= ?)",
                (key, revision),
            )
        return _entry(*rows[0]) if rows and rows[0][4] is not None else None

    def range_at(self, prefix: str, limit: int, after: str | None, revision: int) -> Range:
        span = (prefix, after if after is not None else "", prefix + LAST, revision)
        with self._snapshot():
            tail = self._tail(span)
            # Each key of the tail can take the place of one that ``keys`` knows, so this is enough for the page.
            known = self._read(f"{_NEWEST} ORDER BY key LIMIT ?", (*span, limit + len(tail) if limit else -1))
            merged = {key: (newest, created) for key, newest, created in known} | tail
            alive = [(key, newest) for key, (newest, created) in sorted(merged.items()) if created]
            page = alive[:limit] if limit else alive
            total = self._count(span, tail) if limit and len(page) == limit else len(page)
            wanted = json.dumps([newest for _, newest in page])
            rows = self._read(
                "SELECT l.revision, l.key, l.created, l.crc, l.value"
                " FROM json_each(?) j CROSS JOIN log l ON l.revision = j.value",
                (wanted,),
            )
        return Range([_entry(*row) for row in rows], revision, total - len(rows))

    def _indexed(self) -> int:
        value: int = self._read("SELECT value FROM meta WHERE name = 'indexed'", ())[0][0]
        return value

    def _tail(self, span: tuple[str, str, str, int]) -> dict[str, tuple[int, int]]:
        """Of each key of the span that was written after ``keys`` was brought forward: its newest revision, and when
        it was created (0: it is deleted)."""
        rows = self._read(
            "SELECT key, max(revision), created FROM log"
            " WHERE +key >= ? AND +key > ? AND +key < ? AND revision <= ? AND revision > ? GROUP BY key",
            (*span, self._indexed()),
        )
        return {key: (newest, created) for key, newest, created in rows}

    def _count(self, span: tuple[str, str, str, int], tail: dict[str, tuple[int, int]]) -> int:
        known = self._read(f"SELECT count(*) FROM ({_NEWEST})", span)[0][0]  # noqa: S608  # constants only
        again = self._read(
            "SELECT count(*) FROM json_each(?) j WHERE"
            " (SELECT created FROM keys WHERE key = j.value AND revision <= ? ORDER BY revision DESC LIMIT 1) > 0",
            (json.dumps(list(tail)), span[3]),
        )[0][0]
        present: int = known - again + sum(created > 0 for _, created in tail.values())
        return present

    def changes(self, prefix: str, after: int, until: int, limit: int) -> list[Change]:
        sql = (
            "SELECT n.revision, n.key, n.created, n.crc, n.value, p.revision, p.created, p.crc, p.value"
            " FROM log n LEFT JOIN log p ON p.revision = n.previous AND n.previous > 0"
            " WHERE n.revision > ? AND n.revision <= ? AND +n.key >= ? AND +n.key < ? ORDER BY n.revision LIMIT ?"
        )
        rows = self._read(sql, (after, until, prefix, prefix + LAST, limit))
        return [_change(*row) for row in rows]

    def revision_at(self, at_ms: int, low: int, high: int) -> int:
        """The newest revision in ``[low, high]`` not after the moment; ``low`` is known not to be."""
        while low < high:
            middle = (low + high + 1) // 2
            found = self._read(
                "SELECT at_ms FROM log WHERE revision <= ? AND revision > ? ORDER BY revision DESC LIMIT 1",
                (middle, low),
            )
            if found and found[0][0] > at_ms:
                high = middle - 1
            else:
                low = middle
        return low

    def retention_floor(self, cutoff_ms: int, size_bytes: int, oldest: int, revision: int) -> int:
        """Up to where history may go: older than the cutoff, and an eighth more while the file is too big."""
        floor = self.revision_at(cutoff_ms, oldest, revision)
        pages, free, size = (
            self._read(f"PRAGMA {name}", ())[0][0] for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > size_bytes:
            floor = max(floor, oldest + (revision - oldest + 7) // 8)
        return floor

    def shrink_reader(self) -> None:
        self._read("PRAGMA shrink_memory", ())

    def compacted_ms(self) -> int:
        value: int = self._read("SELECT value FROM meta WHERE name = 'compact_ms'", ())[0][0]
        return value

    def problems(self) -> list[str]:
        """What SQLite's own check and the checksums find wrong: empty is good. Reads the whole file."""
        found = [row[0] for row in self._read("PRAGMA integrity_check", ()) if row[0] != "ok"]
        for revision, key, _, crc, value in self._iterate(f"SELECT {_ENTRY} FROM log WHERE value IS NOT NULL"):  # noqa: S608  # constants only
            if checksum(key, value) != crc:
                found.append(f"{key}: the value of revision {revision} is damaged")
        return found

    def _read(self, sql: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]  # as sqlite3 gives
        assert self._reader is not None
        with _mapped(f"cannot read {self.path}"):
            return self._reader.execute(sql, values).fetchall()

    def _iterate(self, sql: str) -> Iterable[tuple]:  # type: ignore[type-arg]  # as sqlite3 gives
        assert self._reader is not None
        with _mapped(f"cannot read {self.path}"):
            yield from self._reader.execute(sql)

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        assert self._reader is not None
        self._reader.execute("BEGIN")
        try:
            yield
        finally:
            self._reader.execute("COMMIT")

    def close(self, *, trusted: bool = True) -> None:
        """``trusted`` False: the disk failed. Then the read-only connection goes last, for the last connection that
        can write also checkpoints; the log stays for the next start to recover."""
        connections = [self._reader, self._writer] if trusted else [self._writer, self._reader]
        for connection in connections:
            if connection is not None:
                connection.close()


def _change(
    revision: int, key: str, created: int, crc: int, value: bytes | None, p_revision: int | None, *p_rest: object
) -> Change:
    previous = None
    if p_revision is not None:
        p_created, p_crc, p_value = p_rest
        previous = _entry(p_revision, key, p_created, p_crc, p_value)  # type: ignore[arg-type]  # columns of the row
    entry = _entry(revision, key, created, crc, value) if value is not None else None
    return Change(key, revision, entry, previous)
