"""Zstandard, which Python has from 3.14 on: by the program of that name."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import threading
from typing import IO

_PIECE_BYTES = 1 << 18
_JOIN_SECONDS = 1.0


class ArchiveError(Exception):
    """It is no archive that can be read; the message says why, with its name."""


def opened(stream: IO[bytes], name: str) -> io.RawIOBase:
    """What the stream holds, decompressed as it is read. Raises ArchiveError, at once or on the way."""
    if shutil.which("zstd") is None:
        raise ArchiveError(f"{name} is compressed by zstd, which is not installed: apt-get install -y zstd")
    return _Piped(stream, name)


class _Piped(io.RawIOBase):
    """Through the program. A thread feeds it: it may not read before what it wrote is read."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name
        self._process = subprocess.Popen(
            ["zstd", "-dc", "--no-progress"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._fault: OSError | None = None
        self._feeder = threading.Thread(target=self._feed, name="zstd", daemon=True)
        self._feeder.start()

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            while piece := self._stream.read(_PIECE_BYTES):
                self._process.stdin.write(piece)
        except BrokenPipeError:
            pass  # its exit code says what is wrong
        except OSError as error:
            self._fault = error
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert self._process.stdout is not None
        found = self._process.stdout.read(size)
        if not found and size != 0:
            self._end()
        return found

    def _end(self) -> None:
        self._feeder.join()
        if self._fault is not None:
            raise self._fault
        if self._process.wait() != 0:
            raise ArchiveError(f"{self._name} cannot be read to its end: it is damaged")

    def close(self) -> None:
        if not self.closed:
            self._process.kill()
            self._process.wait()
            self._feeder.join(_JOIN_SECONDS)  # it may wait for a terminal
            for pipe in (self._process.stdout, self._process.stdin):
                with contextlib.suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
        super().close()
