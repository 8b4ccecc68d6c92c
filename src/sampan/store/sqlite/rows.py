"""The rows of the SQLite store's log, what makes entries of them, and SQLite's errors as ours.

Shared by ``database``, which writes them, and ``history``, which reads them.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sampan.store.protocol import DamagedEntry, Entry, StoreUnavailable

#: the most that each connection keeps of the file's pages
CACHE_KIB = 2048
#: the columns that ``entry_of`` takes
ENTRY = "revision, key, created, crc, value"


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


def checksum(key: str, value: bytes | None) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode())) if value is not None else 0


def entry_of(revision: int, key: str, created: int, crc: int, value: object) -> Entry:
    if not isinstance(value, bytes) or checksum(key, value) != crc:
        return DamagedEntry(key, revision, created)
    return Entry(key, value, revision, created)


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """SQLite's errors as ours. Unknown ones are the fatal kind: after a failed fsync no retry may be trusted."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        if name in ("SQLITE_FULL", "SQLITE_NOMEM", "SQLITE_TOOBIG", "SQLITE_BUSY"):
            raise DiskFull(f"{what}: {error}") from error
        raise DiskFailed(f"{what}: {error} ({name})") from error
