"""The body of a request: where it ends, and who reads it when.

``feed`` is called by the connection with what arrives; the handler's side reads pieces or the whole, once, and only
when it wants to. What nobody reads is bounded: beyond it the sender is paused (``Source``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from sampan.api import errors
from sampan.server.errors import RequestTimeout
from sampan.server.http.heads import CHUNKED, Head, Refused
from sampan.server.http.limits import Limits

_SIZE_LINE_BYTES = 256
_TRAILER_BYTES = 8 * 1024
_HEX = frozenset(b"0123456789abcdefABCDEF")
_LINE = frozenset(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))


class Source(Protocol):
    """What a body needs of its connection."""

    def body_begun(self) -> None:
        """Somebody reads it: the peer is given leave to send."""
        ...

    def body_wanted(self) -> None:
        """Somebody waits for more: the peer is given time."""
        ...

    def body_taken(self) -> None:
        """What was kept has been read: a paused peer may go on."""
        ...


class LengthFraming:
    """A body of a known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def left(self) -> int:
        return self._left

    def decode(self, data: bytes, out: list[bytes]) -> bytes | None:
        """Appends what belongs to the body. Returns what is behind its end; None: it has not ended."""
        if len(data) < self._left:
            self._left -= len(data)
            out.append(data)
            return None
        mine, rest = (data, b"") if len(data) == self._left else (data[: self._left], data[self._left :])
        self._left = 0
        if mine:
            out.append(mine)
        return rest


class ChunkedFraming:
    """A body in chunks. Chunk extensions are skipped and trailers dropped; everything inexact is refused."""

    __slots__ = ("_at_once", "_begun", "_left", "_state", "_trailers")

    _SIZE, _DATA, _END_OF_CHUNK, _TRAILER = range(4)

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        #: the part of a line that has come
        self._begun = b""
        self._left = 0
        self._state = self._SIZE
        self._trailers = 0

    @property
    def left(self) -> int:
        """Nobody knows."""
        return 1 << 62

    def decode(self, data: bytes, out: list[bytes]) -> bytes | None:
        """As LengthFraming. Raises Refused, and ``TooManyChunks`` after the agreed number in one call."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        at, size, chunks = 0, len(data), 0
        while at < size:
            if self._state == self._DATA:
                taken = min(self._left, size - at)
                out.append(data[at : at + taken] if taken != size else data)
                at += taken
                self._left -= taken
                if self._left:
                    return None
                self._state = self._END_OF_CHUNK
                continue
            if self._state == self._END_OF_CHUNK:
                if data[at : at + 2] != b"\r\n":
                    if size - at == 1 and data[at] == 13:
                        break
                    raise Refused(400)
                at += 2
                self._state = self._SIZE
                chunks += 1
                if chunks >= self._at_once and at < size:
                    raise TooManyChunks(data[at:])
                continue
            end = data.find(b"\n", at, at + _SIZE_LINE_BYTES if self._state == self._SIZE else size)
            if end < 0:
                if size - at >= (_SIZE_LINE_BYTES if self._state == self._SIZE else _TRAILER_BYTES):
                    raise Refused(400)
                break
            line = data[at:end]
            if line[-1:] != b"\r":
                raise Refused(400)
            at = end + 1
            if self._state == self._SIZE:
                self._left = _chunk_size(line[:-1])
                self._state = self._DATA if self._left else self._TRAILER
                continue
            if line == b"\r":
                return data[at:]
            self._trailers += len(line)
            if self._trailers > _TRAILER_BYTES or b":" not in line or not _LINE.issuperset(line[:-1]):
                raise Refused(400)
        self._begun = data[at:]
        return None


class TooManyChunks(Exception):
    """The rest is to be decoded after others had their turn."""

    def __init__(self, rest: bytes) -> None:
        super().__init__()
        self.rest = rest


def _chunk_size(line: bytes) -> int:
    """Raises Refused."""
    digits, semicolon, extension = line.partition(b";")
    if semicolon:
        digits = digits.rstrip(b" \t")
        if not _LINE.issuperset(extension):
            raise Refused(400)
    if not 0 < len(digits) <= 15 or not _HEX.issuperset(digits):
        raise Refused(400)
    return int(digits, 16)


class Body:
    """Invariant: ``kept`` is the number of bytes in ``_pieces``; at most one reader waits."""

    __slots__ = ("_complete", "_error", "_framing", "_limits", "_pieces", "_source", "_unwanted", "_waiter", "kept")

    def __init__(self, head: Head, source: Source, limits: Limits) -> None:
        self._framing: LengthFraming | ChunkedFraming
        if head.length == CHUNKED:
            self._framing = ChunkedFraming(limits.chunks_at_once)
        else:
            self._framing = LengthFraming(head.length)
        self._source = source
        self._limits = limits
        self._pieces: list[bytes] = []
        self._complete = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._unwanted = False
        #: bytes that arrived and were not read yet
        self.kept = 0

    # -- the connection's side -----------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        return self._complete

    @property
    def awaited(self) -> bool:
        return self._waiter is not None

    @property
    def left(self) -> int:
        """Bytes that are still to come; very many where nobody knows."""
        return 0 if self._complete else self._framing.left

    def feed(self, data: bytes) -> bytes:
        """Takes what belongs to the body; returns what is behind its end. Raises Refused, TooManyChunks."""
        pieces: list[bytes] = []
        try:
            rest = self._framing.decode(data, pieces)
            self._complete = rest is not None
        finally:
            if not self._unwanted:
                self._pieces += pieces
                self.kept += sum(map(len, pieces))
            if pieces or self._complete:
                self._wake()
        return rest or b""

    def fail(self, error: Exception) -> None:
        self._error = error
        self._wake()

    def discard(self) -> None:
        """Nobody will read it."""
        self._unwanted = True
        self._pieces.clear()
        self.kept = 0

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- the handler's side --------------------------------------------------------------------------------------

    async def read_piece(self) -> bytes:
        """What has arrived; b"" at the end. Raises BadRequest, RequestTimeout."""
        self._source.body_begun()
        while not self._pieces:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            self._source.body_wanted()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.kept = 0
        self._source.body_taken()
        return data

    async def read(self) -> bytes:
        """The whole of it. Raises RequestEntityTooLarge, BadRequest, RequestTimeout."""
        most = self._limits.body_bytes
        if self._complete and len(self._pieces) == 1 and self.kept <= most:  # it came at once, as most do
            self._source.body_begun()
            return await self.read_piece()
        left = self.left
        if left > most and not isinstance(self._framing, ChunkedFraming):
            raise _too_large(most)
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read_piece():
            size += len(piece)
            if size > most:
                raise _too_large(most)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def iterate(self) -> AsyncIterator[bytes]:
        while piece := await self.read_piece():
            yield piece


def incomplete() -> errors.BadRequest:
    return errors.BadRequest("cannot read the request body: it is not a well-formed message")


def too_slow() -> RequestTimeout:
    return RequestTimeout("the request body did not arrive in time")


def _too_large(most: int) -> errors.RequestEntityTooLarge:
    return errors.RequestEntityTooLarge(f"Request entity is too large: limit is {most}")


async def no_body() -> AsyncIterator[bytes]:
    return
    yield b""


__all__ = ["Body", "Source", "TooManyChunks", "incomplete", "no_body", "too_slow"]
