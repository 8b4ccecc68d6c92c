"""A container's log as a row of files: rotated ones, the older compressed, and the one being written.

Only regular files directly in the log's directory are opened and no symlink is followed: a log that was replaced by a
link to /etc/shadow is an error, not a log. Synchronous.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import deque
from pathlib import Path
from typing import BinaryIO, cast

from sampan.node.safepath import open_regular
from sampan.records import dataclass

_ROTATED = re.compile(r"\.(\d{8}-\d{6})(\.gz)?")
_BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Segment:
    """``offset``: where reading starts, in uncompressed bytes."""

    name: str
    offset: int = 0


def rotated_names(directory: Path, log: str) -> list[str]:
    """The rotated files of ``log``, oldest first; of a file and its compressed copy only one."""
    found: dict[str, str] = {}
    for name in os.listdir(directory):  # noqa: PTH208 - names are what is needed
        match = _ROTATED.fullmatch(name[len(log) :]) if name.startswith(log) else None
        # The uncompressed one wins: its copy may not be finished.
        if match is not None and (match.group(1) not in found or not match.group(2)):
            found[match.group(1)] = name
    return [found[stamp] for stamp in sorted(found)]


def open_segment(directory: Path, name: str) -> BinaryIO:
    """Raises UnsafePath, OSError."""
    file = os.fdopen(open_regular(directory, name), "rb")
    if not name.endswith(".gz"):
        return file
    return cast(BinaryIO, _OwningGzip(file))


class _OwningGzip(gzip.GzipFile):
    """Closes the file below it too, which GzipFile does only for files it opened itself."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._raw_file = raw

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._raw_file.close()


def last_lines(directory: Path, names: list[str], current: BinaryIO, count: int) -> tuple[list[Segment], int]:
    """Where the last ``count`` lines begin: the rotated segments to read, and the offset in ``current``."""
    offset, found = _tail_offset(current, count)
    segments: list[Segment] = []
    for name in reversed(names):
        if found >= count:
            break
        with open_segment(directory, name) as file:
            start, lines = (
                _scan_tail(file, count - found) if name.endswith(".gz") else _tail_offset(file, count - found)
            )
        found += lines
        segments.append(Segment(name, start))
    return segments[::-1], offset


def _tail_offset(file: BinaryIO, count: int) -> tuple[int, int]:
    """(offset of the last ``count`` lines, how many there are), reading backwards from the end."""
    end = file.seek(0, os.SEEK_END)
    if count <= 0 or end == 0:
        return end, 0
    file.seek(end - 1)
    # A line end at the very end closes the last line; it does not begin another.
    wanted = count + (file.read(1) == b"\n")
    seen, position = 0, end
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        ends = block.count(b"\n")
        if seen + ends < wanted:
            seen += ends
            position = start
            continue
        at = len(block)
        for _ in range(wanted - seen):
            at = block.rfind(b"\n", 0, at)
        return start + at + 1, count
    return 0, seen + 1 - (wanted - count)


def _scan_tail(file: BinaryIO, count: int) -> tuple[int, int]:
    """The same for a file that cannot be read backwards."""
    starts: deque[int] = deque(maxlen=count)
    position = 0
    for line in file:
        starts.append(position)
        position += len(line)
    return (starts[0] if starts else position), len(starts)
