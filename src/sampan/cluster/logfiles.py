"""The log files of an instance's processes: opened for them, and kept bounded while they write.

A process appends to its file by itself, so that it goes on when the supervisor is away. The supervisor looks at the
files each second: one above ``LOG_LIMIT_BYTES`` is copied aside and emptied in place. A program therefore holds at most
three times the limit on disk, and what it writes within a second. Lines written in the instant between copy and
emptying are lost; of a file that grew beyond two times the limit the end is kept.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

LOG_LIMIT_BYTES: Final = 8 * 1024 * 1024


def open_log(path: Path) -> int:
    """A file descriptor that appends; a log that grew large is put aside first (one old one is kept)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # no room to keep it is no reason to write none
        bound_log(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def old_log(path: Path) -> Path:
    return path.with_suffix(".log.1")


def is_large(path: Path, limit: int = LOG_LIMIT_BYTES) -> bool:
    try:
        return path.stat().st_size > limit
    except OSError:
        return False


def bound_log(path: Path, limit: int = LOG_LIMIT_BYTES) -> None:
    """Copies a log above the limit aside and empties it, though somebody writes it. Blocks: for a thread.

    Raises OSError when there is no room for the copy; the log is emptied all the same.
    """
    if not is_large(path, limit):
        return
    temporary = path.with_suffix(".log.tmp")
    with path.open("rb+") as log:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                end = os.fstat(log.fileno()).st_size
                at = _copy(log.fileno(), descriptor, max(0, end - 2 * limit), end)
                # What came meanwhile, once: a writer that is faster than this must not hold us here.
                _copy(log.fileno(), descriptor, at, os.fstat(log.fileno()).st_size)
            finally:
                os.close(descriptor)
            temporary.rename(old_log(path))
        finally:
            log.truncate(0)
            temporary.unlink(missing_ok=True)


def _copy(source: int, target: int, at: int, end: int) -> int:
    while at < end:
        sent = os.sendfile(target, source, at, end - at)
        if sent == 0:
            break
        at += sent
    return at
