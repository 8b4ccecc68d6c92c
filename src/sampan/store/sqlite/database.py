"""The SQL of the SQLite store: schema, start, the write transaction, compaction. Plain and synchronous.

A ``Database`` has one writing connection, used by the writer thread only; ``history`` has the read-only one. No other
module knows SQL and SQLite's error codes. Decides nothing about revisions.

``log`` has a row a commit: ``value`` NULL and ``created`` 0 is a delete, ``previous`` the revision that the commit
replaced (0: none), ``at_ms`` the moment, never falling, ``expires_ms`` the moment at which the entry is to be deleted,
NULL: never. A batch of commits is one statement that appends to it.

``keys`` finds the revisions of a key. It is brought forward now and then, up to the revision ``indexed`` in ``meta``,
for that costs a fraction of an index that each commit changes. What came after, the *tail* of the log, is short, and
every query looks at both.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import orjson

from sampan.records import dataclass
from sampan.store.protocol import DamagedEntry, Entry, StoreUnavailable
from sampan.store.sqlite.files import StoreCorrupt, StoreForeign
from sampan.store.sqlite.history import History
from sampan.store.sqlite.rows import CACHE_KIB, ENTRY, Row, entry_of, mapped

log = logging.getLogger(__name__)

_APPLICATION_ID = 0x53414D50  # "SAMP"
SCHEMA_VERSION = 3
#: what ``PRAGMA auto_vacuum`` says of a file that can give room back
_INCREMENTAL = 2
_KEYS = """
CREATE TABLE keys (key TEXT NOT NULL, revision INTEGER NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY (key, revision)) WITHOUT ROWID;
INSERT OR REPLACE INTO meta VALUES ('indexed', 0);
"""
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
    previous INTEGER NOT NULL, at_ms INTEGER NOT NULL, crc INTEGER NOT NULL, value BLOB, expires_ms INTEGER);
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
INSERT INTO meta VALUES ('revision', 0), ('compact', 0), ('compact_ms', 0);
{_KEYS}
"""  # noqa: S608  # constants only
_BRING_FORWARD = """
INSERT INTO keys SELECT key, revision, created FROM log NOT INDEXED
    WHERE revision > (SELECT value FROM meta WHERE name = 'indexed') ORDER BY key, revision;
UPDATE meta SET value = max(value, (SELECT coalesce(max(revision), 0) FROM log NOT INDEXED)) WHERE name = 'indexed';
"""
#: what makes a file of the version before into one of each version
_MIGRATIONS = {
    2: "ALTER TABLE log ADD COLUMN expires_ms INTEGER;",
    3: f"{_KEYS} {_BRING_FORWARD}",
}
#: and what each version has no more. All of it can be made from ``log``, so it may be damaged.
_DROPPED = {3: {"log_key": "INDEX", "current": "TABLE"}}
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
_REPLACED = "FROM log WHERE revision > ? AND revision <= ? AND previous > 0"
_DELETES = "FROM log WHERE revision > ? AND revision <= ? AND created = 0"
_FORGET = (
    f"DELETE FROM keys WHERE (key, revision) IN (SELECT key, previous {_REPLACED})",  # noqa: S608  # constants only
    f"DELETE FROM keys WHERE (key, revision) IN (SELECT key, revision {_DELETES})",  # noqa: S608  # constants only
    f"DELETE FROM log WHERE revision IN (SELECT previous {_REPLACED})",  # noqa: S608  # constants only
    f"DELETE {_DELETES}",
)


def is_store(connection: sqlite3.Connection) -> bool:
    """Whether the file says of itself that it is one. Raises sqlite3.Error."""
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID)


def _is_corrupt(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_CORRUPT")


def open_for_upkeep(path: Path) -> sqlite3.Connection:
    """For whoever holds the directory's lock. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)


@dataclass(frozen=True, slots=True)
class Loaded:
    entries: list[tuple[str, Entry]]
    revision: int
    oldest: int
    last_ms: int
    expiries: list[tuple[str, int]]


class Database:
    def __init__(self, path: Path, identity: str, *, new: bool, check: Callable[[str], None] | None = None) -> None:
        """``check`` is given the identity of a store that is there, before anything in it is changed. It may raise."""
        self.path = path
        self._history: History | None = None
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
            self.identity = self._open(identity, new, check)
            self._history = History(path)
        except sqlite3.Error as error:
            self.close()
            name = getattr(error, "sqlite_errorname", "")
            if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                raise StoreCorrupt(f"{path} is not a readable database: {error}") from error
            raise StoreUnavailable(f"cannot open {path}: {error}") from error
        except StoreUnavailable:
            self._writer.close()
            raise

    @property
    def history(self) -> History:
        assert self._history is not None
        return self._history

    def _open(self, identity: str, new: bool, check: Callable[[str], None] | None) -> str:
        run = self._writer.execute
        if not new and self._pragma("application_id") != _APPLICATION_ID:
            # A crash between creating the file and its schema leaves no table; nothing was ever acknowledged.
            if run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreForeign(f"{self.path} is not a Sampan store")
            new = True
        if not new and self._pragma("user_version") > SCHEMA_VERSION:
            raise StoreForeign(f"{self.path} was written by a newer version of Sampan")
        if not new and check:
            check(self._identity())
        if new:  # before anything else is in the file
            run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA wal_autocheckpoint = 0")  # the writer decides when
        run("PRAGMA journal_size_limit = 16777216")
        run(f"PRAGMA cache_size = -{CACHE_KIB}")
        if not new:
            self._migrate(self._pragma("user_version"))
        if new:
            self._writer.executescript(_SCHEMA)
            run("INSERT INTO meta VALUES ('identity', ?)", (identity,))
            run("COMMIT")
        return self._identity()

    def _identity(self) -> str:
        found = self._writer.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
        if found is None:
            raise StoreCorrupt(f"{self.path} does not say which store it is")
        return str(found[0])

    def _migrate(self, found: int) -> None:
        for version in range(found + 1, SCHEMA_VERSION + 1):
            self._replace(_DROPPED.get(version, {}), f"{_MIGRATIONS[version]} PRAGMA user_version = {version};")

    def _replace(self, dropped: Mapping[str, str], sql: str) -> None:
        """Drops tables and indexes, and does the rest, all or nothing. What is too damaged to be dropped is struck off
        the schema: the room it takes is lost."""
        drop = "".join(f"DROP {kind} {name};" for name, kind in dropped.items())
        try:
            self._run_script(drop + sql)
        except sqlite3.DatabaseError as error:
            if not dropped or not _is_corrupt(error):
                raise
            strike = "".join(f"DELETE FROM sqlite_master WHERE tbl_name = '{n}' OR name = '{n}';" for n in dropped)  # noqa: S608  # constants only
            self._run_script(f"PRAGMA writable_schema = ON; {strike} PRAGMA writable_schema = RESET; {sql}")

    def _run_script(self, sql: str) -> None:
        """All of it or nothing."""
        try:
            self._writer.executescript(f"BEGIN IMMEDIATE; {sql} COMMIT;")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            self._writer.execute("PRAGMA writable_schema = OFF")
            raise

    def _pragma(self, name: str) -> int:
        value: int = self._writer.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    # Start

    def load(self) -> Loaded:
        """The durable state. A value that fails its checksum loads as a DamagedEntry."""
        run = self._writer.execute
        with mapped(f"cannot read {self.path}"):
            meta = dict(run("SELECT name, value FROM meta"))
            last, last_ms = run("SELECT revision, at_ms FROM log ORDER BY revision DESC LIMIT 1").fetchone() or (0, 0)
            try:
                entries, expiries = self._load_entries()
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                log.warning("the index of keys of %s is damaged; it is made anew: %s", self.path, error)
                self._replace({"keys": "TABLE"}, f"{_KEYS} {_BRING_FORWARD}")
                entries, expiries = self._load_entries()
        return Loaded(
            entries,
            revision=max(last, int(meta["compact"]), int(meta["revision"])),
            oldest=int(meta["compact"]),
            last_ms=max(last_ms, int(meta["compact_ms"])),
            expiries=expiries,
        )

    def _load_entries(self) -> tuple[list[tuple[str, Entry]], list[tuple[str, int]]]:
        indexed = self._indexed()
        entries: dict[str, Entry] = {}
        expiries: dict[str, int] = {}
        rows = f"SELECT {ENTRY}, expires_ms FROM log"  # noqa: S608  # constants only
        newest = "SELECT key, max(revision) AS newest, created FROM keys GROUP BY key HAVING created > 0"
        joined = (
            "SELECT l.revision, l.key, l.created, l.crc, l.value, l.expires_ms"  # noqa: S608  # constants only
            f" FROM ({newest}) k CROSS JOIN log l ON l.revision = k.newest"
        )
        try:
            for *row, expires_ms in self._writer.execute(joined):
                entries[row[1]] = entry_of(*row)
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
                entries[key] = entry_of(*row)
            if expires_ms:
                expiries[key] = expires_ms
        return list(entries.items()), list(expiries.items())

    def _indexed(self) -> int:
        value: int = self._writer.execute("SELECT value FROM meta WHERE name = 'indexed'").fetchone()[0]
        return value

    def _load_one(self, key: str, revision: int) -> Entry:
        """For a file with a damaged page: the rows on other pages can still be read."""
        try:
            row = self._writer.execute(f"SELECT {ENTRY} FROM log WHERE revision = ?", (revision,)).fetchone()  # noqa: S608  # constants only
        except sqlite3.DatabaseError:
            row = None
        # Without its row the first revision is unknown; the last one is as good for a precondition.
        return entry_of(*row) if row and row[1] == key else DamagedEntry(key, revision, revision)

    # The writer thread

    def write(self, rows: Sequence[Row]) -> None:
        """One durable transaction. Raises DiskFull (nothing happened) or DiskFailed (stop).

        It is a single statement. Each one lets go of the interpreter lock, and getting it back from a busy event loop
        takes longer than writing the rows.
        """
        size = sum([len(row.value) for row in rows if row.value])
        with mapped("the write failed"):
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
        with mapped("the write failed"):
            self._run_script(_BRING_FORWARD)

    def compact(self, oldest: int, until: int) -> None:
        """Forgets what only revisions in ``[oldest, until)`` need. Bounded by the caller, who picks ``until``.

        It needs next to no room, of which there may be none: what ``keys`` does not know yet and the log has no more
        will simply never be brought forward.
        """
        span = (oldest, until)
        with mapped("compaction failed"), self._transaction() as run:
            moment = run.execute("SELECT max(at_ms) FROM log WHERE revision > ? AND revision <= ?", span).fetchone()[0]
            for sql in _FORGET:
                run.execute(sql, span)
            run.execute("UPDATE meta SET value = ? WHERE name = 'compact'", (until,))
            if moment is not None:
                run.execute("UPDATE meta SET value = ? WHERE name = 'compact_ms'", (moment,))

    def raise_revision(self, revision: int) -> None:
        """Makes the next start count on from ``revision``: after a restore."""
        with mapped("the write failed"), self._transaction() as run:
            run.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'revision'", (revision,))

    def begin_at(self, revision: int, oldest: int, oldest_ms: int) -> None:
        """For a store that was just filled: it counts on from ``revision``, and history before ``oldest`` is gone."""
        values = {"revision": revision, "compact": oldest, "compact_ms": oldest_ms}
        with mapped("the write failed"), self._transaction() as run:
            for name, value in values.items():
                run.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))

    def checkpoint(self) -> None:
        """Moves the log's pages into the file, as far as readers let it. Raises as ``write``."""
        with mapped("the checkpoint failed"):
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def shrink_writer(self) -> None:
        with mapped("memory cannot be given back"):
            self._writer.execute("PRAGMA shrink_memory").fetchone()

    def free_bytes(self) -> int:
        """Room inside the file that deletes and compaction left."""
        with mapped("cannot read the size"):
            return self._pragma("freelist_count") * self._pragma("page_size")

    def room(self) -> tuple[int, int]:
        """Pages of the file, and how many of them hold nothing."""
        with mapped("cannot read the size"):
            return self._pragma("page_count"), self._pragma("freelist_count")

    def release(self, pages: int) -> bool:
        """Cuts so many free pages off the file; False: it is a file that cannot."""
        with mapped("the file cannot be made smaller"):
            if self._pragma("auto_vacuum") != _INCREMENTAL:
                return False
            # A step of the statement is a page, and a cursor takes one only, for no step gives columns.
            self._writer.executescript(f"PRAGMA incremental_vacuum({int(pages)})")
            return True

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

    def close(self, *, trusted: bool = True) -> None:
        """``trusted`` False: the disk failed. Then the read-only connection goes last, for the last connection that
        can write also checkpoints; the log stays for the next start to recover."""
        connections = [self._history, self._writer] if trusted else [self._writer, self._history]
        for connection in connections:
            if connection is not None:
                connection.close()
