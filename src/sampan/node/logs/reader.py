"""Reading one container's log as ``kubectl logs`` wants it: tail, since, streams, limits, following across rotation.

Used by the node API. ``read_log`` is an async iterator of output bytes; closing it frees everything. A
follower does not poll: it sleeps until the directory changes or the container ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, aclosing
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sampan.node.logs.inotify import DirectoryWatches
from sampan.node.logs.lines import LineWriter, Stream
from sampan.node.logs.segments import Segment, last_lines, open_segment, rotated_names
from sampan.records import dataclass

log = logging.getLogger(__name__)

_BLOCK = 65536
#: where the user's inotify instances are used up
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions (API reference v1) without the container; ``since`` is absolute."""

    follow: bool = False
    previous: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: Stream = "All"


class Ending:
    """Tells a follower that the container has stopped: what is in the file then is all there will be."""

    def __init__(self, ended: bool = False) -> None:
        self.ended = ended
        self.wake = asyncio.Event()

    def end(self) -> None:
        self.ended = True
        self.wake.set()


async def read_log(
    path: Path, options: LogOptions, ending: Ending, watches: DirectoryWatches
) -> AsyncGenerator[bytes, None]:
    """Output in chunks. Raises OSError, UnsafePath before the first chunk when there is no such log."""
    left = options.limit_bytes
    async with aclosing(_chunks(path, options, ending, watches)) as chunks:
        async for chunk in chunks:
            if left is None:
                yield chunk
                continue
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return


async def _chunks(
    path: Path, options: LogOptions, ending: Ending, watches: DirectoryWatches
) -> AsyncGenerator[bytes, None]:
    directory, name = path.parent, path.name
    writer = LineWriter(timestamps=options.timestamps, since=options.since, stream=options.stream)
    with ExitStack() as stack:
        patience: float | None = None
        if options.follow:
            try:
                stack.enter_context(watches.watch(directory, ending.wake))
            except OSError as error:
                log.info("no inotify for %s, looking once a second: %s", directory, error)
                patience = _POLL_SECONDS
        # The current file first: if it is rotated from here on, we hold it open and do not read it twice.
        current = stack.enter_context(open_segment(directory, name))
        held = os.fstat(current.fileno()).st_ino
        names = [each for each in rotated_names(directory, name) if _inode(directory / each) != held]
        if options.tail_lines is None:
            segments, offset = [Segment(each) for each in names], 0
        else:
            segments, offset = last_lines(directory, names, current, options.tail_lines)
        for segment in segments:
            for chunk in _read_segment(directory, segment, writer):
                yield chunk
        current.seek(offset)
        follower = _Follower(path, current, writer, patience)
        stack.callback(follower.close)
        async for chunk in follower.read(options.follow, ending):
            yield chunk


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return -1


def _read_segment(directory: Path, segment: Segment, writer: LineWriter) -> Iterator[bytes]:
    try:
        file = open_segment(directory, segment.name)
    except FileNotFoundError:
        return  # rotated away meanwhile
    with file:
        file.seek(segment.offset)
        rest = b""
        while block := file.read(_BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            if text := b"".join(map(writer.render, lines)):
                yield text
        if rest:
            yield writer.render(rest)


class _Follower:
    """Reads the current file to its end and, when following, what comes after, in whatever file it comes."""

    def __init__(self, path: Path, file: BinaryIO, writer: LineWriter, patience: float | None) -> None:
        self._path = path
        self._file = file
        self._writer = writer
        #: seconds to sleep at most; None: until woken
        self._patience = patience
        self._rest = b""

    def close(self) -> None:
        self._file.close()

    async def read(self, follow: bool, ending: Ending) -> AsyncIterator[bytes]:
        while True:
            # Both before reading: what was written before the container ended, or before the wake-up, is then seen.
            ending.wake.clear()
            ended = ending.ended
            rotated = self._is_rotated()  # also before: once renamed, the old file only gets what is in flight
            for chunk in self._drain():
                if chunk:
                    yield chunk
            if rotated:
                self._file.close()
                self._file = open_segment(self._path.parent, self._path.name)
                continue
            if not follow or ended:
                break
            try:
                async with asyncio.timeout(self._patience):
                    await ending.wake.wait()
            except TimeoutError:
                continue
        if self._rest and (text := self._writer.render(self._rest)):
            yield text

    def _drain(self) -> Iterator[bytes]:
        while block := self._file.read(_BLOCK):
            *lines, self._rest = (self._rest + block).split(b"\n")
            yield b"".join(map(self._writer.render, lines))

    def _is_rotated(self) -> bool:
        """The name belongs to another file now. Not while there is none: the runtime has yet to make it."""
        return _inode(self._path) not in (os.fstat(self._file.fileno()).st_ino, -1)
