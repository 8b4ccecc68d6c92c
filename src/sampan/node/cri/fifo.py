"""Named pipes between this process and a container's shim, without blocking the event loop.

One task at a time uses an end. A pipe that is full holds 64 KiB, which is all that is ever between a client and the
program it talks to.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

_BLOCK_BYTES = 64 << 10
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.001, 0.1


class _End:
    def __init__(self, path: Path, mode: int) -> None:
        self._fd = os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC)
        self._waiting: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Whoever waits for the pipe goes on and finds it closed. Closing again is harmless."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(fd)
        loop.remove_writer(fd)
        os.close(fd)
        self._ready()

    def _ready(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class FifoReader(_End):
    """Opens whether or not anybody writes: read only after a writer has opened the pipe, or it seems to have ended."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, os.O_RDONLY)

    async def read(self) -> bytes:
        """What there is, at most 64 KiB; b"" when the last writer has gone and all is read, or after ``close``."""
        while self._fd >= 0:
            try:
                return os.read(self._fd, _BLOCK_BYTES)
            except BlockingIOError:
                await self._wait()
        return b""

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._fd, self._ready)
        try:
            await self._waiting
        finally:
            if self._fd >= 0:
                loop.remove_reader(self._fd)


class FifoWriter(_End):
    """Raises OSError when nobody has the pipe open for reading."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, os.O_WRONLY)

    async def write(self, data: bytes) -> None:
        """All of it. Raises BrokenPipeError when the reader has gone, also after ``close``."""
        view = memoryview(data)
        while view:
            if self._fd < 0:
                raise BrokenPipeError
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await self._wait()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_writer(self._fd, self._ready)
        try:
            await self._waiting
        finally:
            if self._fd >= 0:
                loop.remove_writer(self._fd)


class LateFifoWriter:
    """A writing end for a pipe whose reader is still to come; the path may be removed once this is made.

    There is no news of a reader that opens a pipe, so it is looked for: often at first, ten times a second in the end.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._writer: FifoWriter | None = None

    async def write(self, data: bytes) -> None:
        """All of it, once there is a reader. Raises BrokenPipeError when the reader has gone, also after ``close``."""
        await (await self.opened()).write(data)

    async def opened(self) -> FifoWriter:
        """Waits until the pipe has a reader. Raises BrokenPipeError after ``close``."""
        seconds = _FIRST_LOOK_SECONDS
        while self._writer is None:
            if self._handle < 0:
                raise BrokenPipeError
            try:
                self._writer = FifoWriter(Path(f"/proc/self/fd/{self._handle}"))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                await asyncio.sleep(seconds)
                seconds = min(2 * seconds, _LAST_LOOK_SECONDS)
        return self._writer

    def close(self) -> None:
        """Closing again is harmless."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
        if self._writer is not None:
            self._writer.close()
