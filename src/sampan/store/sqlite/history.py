"""Reading the SQLite store's past: states at older revisions, changes, moments. Plain and synchronous, in one thread.

Has a read-only connection of its own. What a query finds comes as one row of JSON wherever it can: for each row SQLite
lets go of the interpreter lock, and getting it back from a busy event loop takes longer than reading the row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from sampan.store.protocol import Change, Entry, Range
from sampan.store.sortedmap import LAST
from sampan.store.sqlite.rows import CACHE_KIB, ENTRY, checksum, entry_of, mapped

#: A page of keys as of a revision, in one statement and one row: what the tail of the log says of the span, what
#: ``keys`` knows of it (enough of it for the page, whatever the tail says), how many that would be without a limit, and
#: how many of those the tail says something of. A key's list is itself, its newest revision, and when it was created
#: (0: it is deleted).
_KNOWN = (
    "SELECT key, max(revision) AS newest, created FROM keys WHERE key >= :prefix AND key > :after AND key < :end"
    " AND revision <= :revision GROUP BY key HAVING created > 0"
)
_PAGE = f"""
WITH tail AS (SELECT key, max(revision) AS newest, created FROM log
    WHERE revision > (SELECT value FROM meta WHERE name = 'indexed') AND revision <= :revision
    AND +key >= :prefix AND +key > :after AND +key < :end GROUP BY key)
SELECT
    (SELECT json_group_array(json_array(key, newest, created)) FROM tail),
    (SELECT json_group_array(json_array(key, newest, created)) FROM ({_KNOWN} ORDER BY key
        LIMIT CASE WHEN :limit THEN :limit + (SELECT count(*) FROM tail) ELSE -1 END)),
    CASE WHEN :limit THEN (SELECT count(*) FROM ({_KNOWN})) END,
    (SELECT count(*) FROM tail WHERE (SELECT created FROM keys WHERE keys.key = tail.key AND revision <= :revision
        ORDER BY revision DESC LIMIT 1) > 0)
"""  # noqa: S608  # constants only
#: a page of changes has no more bytes of values than this, or one change
_CHANGES_BYTES = 4 * 1024 * 1024

#: the entry that a key has now; any thread may ask
Known = Callable[[str], Entry | None]


class History:
    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error."""
        self._path = path
        self._reader = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._reader.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # Attached from the first read on: see ``Database.close``.
        self._reader.execute("SELECT count(*) FROM meta").fetchone()

    def close(self) -> None:
        self._reader.close()

    def entry_at(self, key: str, revision: int) -> Entry | None:
        sql = (
            f"SELECT {ENTRY} FROM log WHERE revision = max(coalesce((SELECT max(revision) FROM log WHERE +key = :key"  # noqa: S608  # constants only
            " AND revision <= :revision AND revision > (SELECT value FROM meta WHERE name = 'indexed')), 0),"
            " coalesce((SELECT max(revision) FROM keys WHERE key = :key AND revision <= :revision), 0))"
        )
        rows = self._read(sql, {"key": key, "revision": revision})
        return entry_of(*rows[0]) if rows and rows[0][2] else None

    def range_at(self, prefix: str, limit: int, after: str | None, revision: int, known: Known) -> Range:
        """``known`` saves reading what has not changed since."""
        values = {"prefix": prefix, "after": after or "", "end": prefix + LAST, "revision": revision, "limit": limit}
        tail, found, total, again = self._read(_PAGE, values)[0]
        newer = {item[0]: item for item in orjson.loads(tail)}
        merged = {item[0]: item for item in orjson.loads(found)} | newer
        alive = [(key, newest) for key, newest, created in sorted(merged.values()) if created]
        page = alive[:limit] if limit else alive
        remaining = total - again + sum(created > 0 for _, _, created in newer.values()) - len(page) if limit else 0
        return Range(self._entries(page, known), revision, remaining)

    def _entries(self, page: Sequence[tuple[str, int]], known: Known) -> list[Entry]:
        entries = {newest: entry for key, newest in page if (entry := known(key)) and entry.revision == newest}
        missing = [newest for _, newest in page if newest not in entries]
        if missing:
            sql = (
                "SELECT l.revision, l.key, l.created, l.crc, l.value"
                " FROM json_each(?) j CROSS JOIN log l ON l.revision = j.value"
            )
            entries |= {row[0]: entry_of(*row) for row in self._read(sql, (orjson.dumps(missing).decode(),))}
        return [entries[newest] for _, newest in page if newest in entries]

    def changes(self, prefix: str, after: int, until: int, limit: int) -> list[Change]:
        """May be fewer when they are large; none: there are no more."""
        sizes = self._read(
            "SELECT json_group_array(json_array(revision, size)) FROM (SELECT n.revision,"
            " coalesce(length(n.value), 0) + coalesce(length(p.value), 0) AS size"
            " FROM log n LEFT JOIN log p ON p.revision = n.previous AND n.previous > 0"
            " WHERE n.revision > ? AND n.revision <= ? AND +n.key >= ? AND +n.key < ? ORDER BY n.revision LIMIT ?)",
            (after, until, prefix, prefix + LAST, limit),
        )
        last = total = 0
        for revision, size in orjson.loads(sizes[0][0]):
            total += size
            if last and total > _CHANGES_BYTES:
                break
            last = revision
        rows = self._read(
            "SELECT n.revision, n.key, n.created, n.crc, n.value, p.revision, p.created, p.crc, p.value"
            " FROM log n LEFT JOIN log p ON p.revision = n.previous AND n.previous > 0"
            " WHERE n.revision > ? AND n.revision <= ? AND +n.key >= ? AND +n.key < ? ORDER BY n.revision",
            (after, last, prefix, prefix + LAST),
        )
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
        pages, free, size = (self._value(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size"))
        if (pages - free) * size > size_bytes:
            floor = max(floor, oldest + (revision - oldest + 7) // 8)
        return floor

    def shrink(self) -> None:
        self._read("PRAGMA shrink_memory", ())

    def compacted_ms(self) -> int:
        return self._value("SELECT value FROM meta WHERE name = 'compact_ms'")

    def problems(self) -> list[str]:
        """What SQLite's own check and the checksums find wrong: empty is good. Reads the whole file."""
        found = [row[0] for row in self._read("PRAGMA integrity_check", ()) if row[0] != "ok"]
        for revision, key, _, crc, value in self._iterate(f"SELECT {ENTRY} FROM log WHERE value IS NOT NULL"):  # noqa: S608  # constants only
            if checksum(key, value) != crc:
                found.append(f"{key}: the value of revision {revision} is damaged")
        return found

    def _value(self, sql: str, values: Sequence[object] = ()) -> int:
        value: int = self._read(sql, values)[0][0]
        return value

    def _read(self, sql: str, values: Sequence[object] | Mapping[str, object]) -> list[tuple]:  # type: ignore[type-arg]  # as sqlite3 gives
        with mapped(f"cannot read {self._path}"):
            return self._reader.execute(sql, values).fetchall()

    def _iterate(self, sql: str) -> Iterable[tuple]:  # type: ignore[type-arg]  # as sqlite3 gives
        with mapped(f"cannot read {self._path}"):
            yield from self._reader.execute(sql)


def _change(
    revision: int, key: str, created: int, crc: int, value: bytes | None, p_revision: int | None, *p_rest: object
) -> Change:
    previous = None
    if p_revision is not None:
        p_created, p_crc, p_value = p_rest
        previous = entry_of(p_revision, key, p_created, p_crc, p_value)  # type: ignore[arg-type]  # columns of the row
    entry = entry_of(revision, key, created, crc, value) if created else None
    return Change(key, revision, entry, previous)
