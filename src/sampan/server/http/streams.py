"""Answers that come bit by bit, and connections that were handed over: what the handler's side holds of a connection.

``PushStream`` is pushed to (watches): shared bytes, joined per turn of the event loop, bounded. ``UpgradedConnection``
is the client's raw connection after an upgrade. Neither knows HTTP beyond chunks; both ask their ``Carrier``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from sampan.server.http.limits import Limits
from sampan.server.stream import Batch

_LAST_CHUNK = b"0\r\n\r\n"


class Carrier(Protocol):
    """The connection, as these two see it."""

    limits: Limits

    @property
    def writable(self) -> bool:
        """The peer keeps up, as far as is known."""
        ...

    @property
    def unread(self) -> int:
        """Bytes that were written and that the peer has not taken."""
        ...

    def write(self, data: bytes) -> None:
        """Raises ConnectionResetError."""
        ...

    def write_now(self, data: bytes) -> bool:
        """False: the peer has gone."""
        ...

    async def drain(self) -> None: ...
    def flush_soon(self, stream: PushStream) -> None: ...
    def stream_done(self) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class PushStream:
    """The ``Stream`` of one answer.

    Invariants: ``_bytes`` is the size of ``_waiting``; while the peer does not keep up nothing is written, so that what
    waits is shared between all that wait for it.
    """

    __slots__ = ("_bytes", "_callbacks", "_chunked", "_ended", "_queued", "_waiting", "_wire")

    def __init__(self, wire: Carrier, *, chunked: bool) -> None:
        self._wire: Carrier | None = wire
        self._chunked = chunked
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._queued = False
        self._ended = False
        self._callbacks: Callable[[], None] | list[Callable[[], None]] | None = None

    @property
    def closed(self) -> bool:
        return self._wire is None or self._ended

    @property
    def unread(self) -> int:
        wire = self._wire
        return self._bytes + wire.unread if wire is not None else 0

    def push(self, batch: Batch) -> None:
        wire = self._wire
        if wire is None or self._ended:
            return
        data = batch.chunk if self._chunked else batch.data
        if not batch.data:
            return
        self._waiting.append(data)
        self._bytes += len(data)
        if self._queued:
            if self._bytes > wire.limits.unread_bytes:
                self.abort()
        elif wire.writable:
            self._queued = True
            wire.flush_soon(self)
        elif self._bytes + wire.unread > wire.limits.unread_bytes:
            self.abort()

    async def write(self, data: bytes) -> None:
        wire = self._wire
        if wire is None or self._ended or not data:
            return
        view = memoryview(data)
        piece = wire.limits.piece_bytes
        for at in range(0, len(data), piece):
            part = bytes(view[at : at + piece]) if len(data) > piece else data
            self._append(b"%x\r\n%s\r\n" % (len(part), part) if self._chunked else part)
            self.flush()
            try:
                await wire.drain()
            except ConnectionError:
                return
            if self._wire is None:
                return

    def finish(self) -> None:
        if self._wire is None or self._ended:
            return
        self._ended = True
        if self._chunked:
            self._append(_LAST_CHUNK)
        self.flush()

    def abort(self) -> None:
        wire = self._wire
        if wire is not None:
            self.lost()
            wire.abort()

    def on_close(self, callback: Callable[[], None]) -> None:
        if self._wire is None:
            callback()
        elif self._callbacks is None:
            self._callbacks = callback
        elif isinstance(self._callbacks, list):
            self._callbacks.append(callback)
        else:
            self._callbacks = [self._callbacks, callback]

    # -- the connection's side -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Writes what waits, a piece at a time, while the peer keeps up. Never raises."""
        self._queued = False
        waiting = self._waiting
        while (wire := self._wire) is not None and waiting and wire.writable:
            if len(waiting) == 1:
                data = waiting.popleft()
            elif self._bytes <= wire.limits.piece_bytes:
                data = b"".join(waiting)
                waiting.clear()
            else:
                data = self._piece(waiting, wire.limits.piece_bytes)
            self._bytes -= len(data)
            if not wire.write_now(data):
                self.lost()
                return
        if wire is not None and self._ended and not waiting:
            self.lost()
            wire.stream_done()

    @staticmethod
    def _piece(waiting: deque[bytes], most: int) -> bytes:
        parts = [waiting.popleft()]
        size = len(parts[0])
        while waiting and size + len(waiting[0]) <= most:
            size += len(waiting[0])
            parts.append(waiting.popleft())
        return b"".join(parts)

    def lost(self) -> None:
        """The stream is over, for whichever reason."""
        self._wire = None
        self._ended = True
        self._waiting.clear()
        self._bytes = 0
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is None:
            return
        for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
            callback()

    def _append(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)


class UpgradedConnection:
    """``request.Connection``: raw bytes both ways, with flow control both ways.

    A peer that ends its sending side (half-close) is read to its end and may still be written to.
    """

    __slots__ = ("_buffer", "_ended", "_paused", "_waiter", "_wire")

    def __init__(self, wire: Carrier, early: bytes) -> None:
        self._wire: Carrier | None = wire
        self._buffer = bytearray(early)
        self._ended = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    async def read(self, limit: int = 65536) -> bytes:
        while not self._buffer:
            if self._ended or self._wire is None:
                return b""
            if self._waiter is not None:
                raise RuntimeError("the connection is being read already")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        wire = self._wire
        if self._paused and wire is not None and len(self._buffer) < wire.limits.upgraded_ahead_bytes // 2:
            self._paused = False
            wire.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        wire = self._wire
        if wire is None:
            raise ConnectionResetError("the client has gone")
        piece = wire.limits.piece_bytes
        for at in range(0, len(data), piece):
            wire.write(data[at : at + piece] if len(data) > piece else data)
            await wire.drain()

    def close(self) -> None:
        wire, self._wire = self._wire, None
        self.feed_eof()
        if wire is not None:
            wire.close()

    def abort(self) -> None:
        wire, self._wire = self._wire, None
        self.feed_eof()
        if wire is not None:
            wire.abort()

    # -- the connection's side -----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        self._buffer += data
        self._wake()
        wire = self._wire
        if wire is not None and not self._paused and len(self._buffer) > wire.limits.upgraded_ahead_bytes:
            self._paused = True
            wire.pause_reading()

    def feed_eof(self) -> None:
        self._ended = True
        self._wake()

    def lost(self) -> None:
        self._wire = None
        self.feed_eof()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


__all__ = ["Carrier", "PushStream", "UpgradedConnection"]
