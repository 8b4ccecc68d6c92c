"""The SQL of the SQLite store: schema, the write transaction, compaction, history queries. Plain and synchronous.

A ``Database`` has one writing connection, used by the writer thread only, and one read-only connection, used by one
reader thread. The only module that knows SQL and SQLite's error codes. Decides nothing about revisions.

``log`` has a row a commit: ``value`` NULL and ``created`` 0 is a delete, ``previous`` the revision that the commit
replaced (0: none), ``at_ms`` the moment, never falling. ``current`` maps each present key to its newest
row, for a quick start. ``expires_ms`` is the moment at which the entry is to be deleted, NULL: never.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sampan.store.protocol import Change, DamagedEntry, Entry, Range, StoreUnavailable
from sampan.store.sortedmap import LAST
from sampan.store.sqlite.files import StoreCorrupt, StoreForeign

_APPLICATION_ID = 0x53414D50  # "SAMP"
_SCHEMA_VERSION = 2
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
    previous INTEGER NOT NULL, at_ms INTEGER NOT NULL, crc INTEGER NOT NULL, value BLOB, expires_ms INTEGER);
CREATE INDEX log_key ON log (key, revision, created);
CREATE TABLE current (key TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
INSERT INTO meta VALUES ('revision', 0), ('compact', 0), ('compact_ms', 0);
"""  # noqa: S608  # constants only
#: what makes a file of the version before into one of each version
_MIGRATIONS = {2: "ALTER TABLE log ADD COLUMN expires_ms INTEGER"}
#: how many rows one statement inserts: a handful of texts, which the connection keeps compiled
_INSERT_SIZES = (64, 16, 4, 1)
_INSERTS = {size: f"INSERT INTO log VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?)'] * size)}" for size in _INSERT_SIZES}  # noqa: S608  # constants only
_ENTRY = "revision, key, created, crc, value"


class DiskFull(StoreUnavailable):
    """No room. Nothing was written; a later write may succeed."""


class DiskFailed(StoreUnavailable):
    """The disk's or the file's state is unknown: nothing may be written any more."""


@dataclass(slots=True)
class Row:
    """One commit as written."""

    revision: int
    key: str
    created: int
    previous: int
    at_ms: int
    expires_ms: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Loaded:
    entries: list[tuple[str, Entry]]
    revision: int
    oldest: int
    last_ms: int
    expiries: list[tuple[str, int]]


def _checksum(key: str, value: bytes | None) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode())) if value is not None else 0


def _entry(revision: int, key: str, created: int, crc: int, value: bytes) -> Entry:
    if not isinstance(value, bytes) or _checksum(key, value) != crc:
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
                f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
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
        run("PRAGMA journal_size_limit = 67108864")
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
            with self._transaction() as run:
                run.execute(_MIGRATIONS[version])
                run.execute(f"PRAGMA user_version = {version}")

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
        sql = (
            "SELECT c.key, l.revision, l.created, l.crc, l.value, l.expires_ms FROM current c"
            " JOIN log l ON l.revision = c.revision ORDER BY c.key"
        )
        entries: list[tuple[str, Entry]] = []
        expiries: list[tuple[str, int]] = []
        try:
            for key, revision, created, crc, value, expires_ms in self._writer.execute(sql):
                entries.append((key, _entry(revision, key, created, crc, value)))
                if expires_ms:
                    expiries.append((key, expires_ms))
        except sqlite3.DatabaseError:  # what cannot be read has no end either
            rows = self._writer.execute("SELECT * FROM current")
            return [(key, self._load_one(key, at)) for key, at in rows], expiries
        return entries, expiries

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
        """One durable transaction. Raises DiskFull (nothing happened) or DiskFailed (stop)."""
        with _mapped("the write failed"), self._transaction() as run:
            # Few statements with many rows each: every statement lets go of the interpreter lock, and getting it back
            # from a busy event loop takes longer than writing the row.
            at = 0
            while at < len(rows):
                count = next(size for size in _INSERT_SIZES if size <= len(rows) - at)
                values: list[int | str | bytes | None] = []
                for r in rows[at : at + count]:
                    crc = _checksum(r.key, r.value)
                    values += (r.revision, r.key, r.created, r.previous, r.at_ms, crc, r.value, r.expires_ms or None)
                run.execute(_INSERTS[count], values)
                at += count
            run.execute(
                "INSERT INTO current SELECT key, revision FROM log WHERE revision >= ? AND value IS NOT NULL"
                " ORDER BY revision ON CONFLICT (key) DO UPDATE SET revision = excluded.revision",
                (rows[0].revision,),
            )
            final = {row.key: row for row in rows}.values()
            run.executemany("DELETE FROM current WHERE key = ?", [(row.key,) for row in final if row.value is None])

    def compact(self, oldest: int, until: int) -> None:
        """Forgets what only revisions in ``[oldest, until)`` need. Bounded by the caller, who picks ``until``."""
        span = (oldest, until)
        with _mapped("compaction failed"), self._transaction() as run:
            moment = run.execute("SELECT max(at_ms) FROM log WHERE revision > ? AND revision <= ?", span).fetchone()[0]
            run.execute(
                "DELETE FROM log WHERE revision IN"
                " (SELECT previous FROM log WHERE revision > ? AND revision <= ? AND previous > 0)",
                span,
            )
            run.execute("DELETE FROM log WHERE revision > ? AND revision <= ? AND value IS NULL", span)
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
        sql = f"SELECT {_ENTRY} FROM log WHERE key = ? AND revision <= ? ORDER BY revision DESC LIMIT 1"  # noqa: S608  # constants only
        rows = self._read(sql, (key, revision))
        return _entry(*rows[0]) if rows and rows[0][4] is not None else None

    def range_at(self, prefix: str, limit: int, after: str | None, revision: int) -> Range:
        # Inside the index alone: its ``created`` tells deletes apart, so only the page's rows are read.
        newest = (
            "SELECT key, max(revision) AS newest, created FROM log INDEXED BY log_key"
            " WHERE key >= ? AND key > ? AND key < ? AND revision <= ? GROUP BY key HAVING created > 0"
        )
        span = (prefix, after if after is not None else "", prefix + LAST, revision)
        page = (
            "SELECT l.revision, l.key, l.created, l.crc, l.value"  # noqa: S608  # constants only
            f" FROM ({newest} ORDER BY key LIMIT ?) CROSS JOIN log l ON l.revision = newest"
        )
        with self._snapshot():
            rows = self._read(page, (*span, limit or -1))
            more = limit and len(rows) == limit
            total = self._read(f"SELECT count(*) FROM ({newest})", span)[0][0] if more else len(rows)  # noqa: S608  # constants only
        return Range([_entry(*row) for row in rows], revision, total - len(rows))

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

    def compacted_ms(self) -> int:
        value: int = self._read("SELECT value FROM meta WHERE name = 'compact_ms'", ())[0][0]
        return value

    def problems(self) -> list[str]:
        """What SQLite's own check and the checksums find wrong: empty is good. Reads the whole file."""
        found = [row[0] for row in self._read("PRAGMA integrity_check", ()) if row[0] != "ok"]
        for revision, key, _, crc, value in self._iterate(f"SELECT {_ENTRY} FROM log WHERE value IS NOT NULL"):  # noqa: S608  # constants only
            if _checksum(key, value) != crc:
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
