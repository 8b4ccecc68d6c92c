"""The log files of an instance's processes, read as ``tail`` reads them: the end first, then what comes.

Bounded in memory: however long a file or a line is, it is read in pieces of ``CHUNK_BYTES``. A log that is put aside
while it is followed is read to its end, and the new one from its beginning.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

CHUNK_BYTES = 64 * 1024


def components(instance: Instance) -> list[str]:
    """Those that have a log, in alphabetical order."""
    return sorted(path.stem for path in instance.logs.glob("*.log"))


def path_of(instance: Instance, component: str, *, previous: bool = False) -> Path:
    """Raises ClusterError, naming those that there are."""
    known = components(instance)
    if component not in known:
        raise ClusterError(
            f"cluster {instance.name!r} has no log of {component!r}",
            fix=f"choose {', '.join(known)}"
            if known
            else f"`{instance.command('up')}` starts it, and then there are logs",
        )
    path = instance.logs / f"{component}.log"
    if not previous:
        return path
    aside = path.with_suffix(".log.1")
    if not aside.exists():
        raise ClusterError(f"{component} has no earlier log: {path} holds all it said", fix="leave --previous out")
    return aside


def last_lines(file: BinaryIO, count: int) -> Iterator[bytes]:
    """The end of a file, in pieces; ``count`` negative: all of it. The file is left at its end."""
    file.seek(_start_of_last(file, count) if count >= 0 else 0)
    while piece := file.read(CHUNK_BYTES):
        yield piece


def _start_of_last(file: BinaryIO, count: int) -> int:
    """Where the last ``count`` lines begin."""
    end = file.seek(0, os.SEEK_END)
    place, wanted = end, count + 1
    if count == 0:
        return end
    while place > 0:
        start = max(0, place - CHUNK_BYTES)
        file.seek(start)
        piece = file.read(place - start)
        if place == end and not piece.endswith(b"\n"):
            wanted -= 1  # the last line has no end yet
        at = len(piece)
        while wanted > 0 and (at := piece.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted == 0:
                return start + at + 1
        place = start
    return 0


class Followed:
    """One log that grows. ``more`` gives what has come since; never waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")

    def begin(self, count: int) -> Iterator[bytes]:
        return last_lines(self._file, count)

    def more(self) -> Iterator[bytes]:
        yield from self._rest()
        try:
            now = self._path.stat()
        except FileNotFoundError:  # put aside, and nothing new said yet
            return
        own = os.fstat(self._file.fileno())
        if not os.path.samestat(now, own):
            yield from self._rest()  # what was said until it was put aside
            self._file.close()
            self._file = self._path.open("rb")
        elif now.st_size < self._file.tell():  # emptied
            self._file.seek(0)
        yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while piece := self._file.read(CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        self._file.close()
