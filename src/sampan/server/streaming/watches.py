"""Watches over WebSocket, as browsers read them: each event is a message, text for JSON and binary for protobuf.

The events are pushed by ``server.watching`` as they are over HTTP, and framed once for all sockets of a channel. What
the client sends is read and thrown away. A task serves a socket until the watch ends (a close frame says so) or the
client goes. Source: apiserver ``handlers/watch.go`` (HandleWS).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sampan.api.errors import BadRequest
from sampan.api.streams.websocket import BINARY, TEXT, render_frame
from sampan.server.request import Request, Response
from sampan.server.stream import Batch, PushBody
from sampan.server.streaming.websocket import PIECE_BYTES, WebSocket, accept_headers, offered_protocols

#: a client that has left more than this unread is cut off
UNREAD_BYTES: Final = 4 * 1024 * 1024
#: the same for all sockets together: the one that has left most is cut off first
ALL_UNREAD_BYTES: Final = 64 * 1024 * 1024
#: and one that has taken nothing of what waits for so long
UNREAD_SECONDS: Final = 60.0
#: to take the last of it, and the close frame, when the watch is over
LAST_SECONDS: Final = 5.0

Frames = Callable[[bytes], bytes]


async def serve(request: Request, body: PushBody, *, text: bool) -> Response:
    """Serves the socket until its end. Raises BadRequest, Forbidden."""
    assert request.hijack is not None
    protocols = offered_protocols(request)
    if len(protocols) > 1:
        raise BadRequest("a watch has no protocols to choose from: offer one at most")
    head = accept_headers(request, protocols[0] if protocols else "")
    socket = WebSocket(await request.hijack(101, head))
    stream = SocketStream(socket, text_frames if text else binary_frames)
    reading, sending = asyncio.ensure_future(_ignore(socket)), asyncio.ensure_future(stream.send())
    over = asyncio.ensure_future(stream.over.wait())
    try:
        body.start(stream)
        await asyncio.wait([reading, sending, over], return_when=asyncio.FIRST_COMPLETED)
        if over.done() and not stream.cut_off:
            await asyncio.wait([reading, sending], timeout=LAST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stream.lost()
        tasks = (reading, sending, over)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _say_goodbye(socket, stream)
    return Response(101, hijacked=True)


async def _say_goodbye(socket: WebSocket, stream: SocketStream) -> None:
    """A client that does not read is not waited for."""
    if not stream.cut_off:
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await socket.close()
            return
        except TimeoutError:
            pass
    socket.abort()


async def _ignore(socket: WebSocket) -> None:
    while await socket.receive() is not None:
        pass


def text_frames(lines: bytes) -> bytes:
    """Lines of JSON, a message each, which keeps its line's end."""
    return b"".join([render_frame(TEXT, line + b"\n") for line in lines.split(b"\n") if line])


def binary_frames(events: bytes) -> bytes:
    """Events behind their lengths, a message each; a message has a length of its own."""
    frames, at = [], 0
    while at < len(events):
        end = at + 4 + int.from_bytes(events[at : at + 4], "big")
        frames.append(render_frame(BINARY, events[at + 4 : end]))
        at = end
    return b"".join(frames)


class Behind:
    """What waits for the clients of all sockets together. Invariant: ``bytes`` is the sum of ``_waiting``."""

    def __init__(self) -> None:
        self.bytes = 0
        self._waiting: dict[SocketStream, int] = {}

    def count(self, stream: SocketStream, more: int, now: int) -> None:
        self.bytes += more
        if now:
            self._waiting[stream] = now
        else:
            self._waiting.pop(stream, None)

    def worst(self) -> SocketStream:
        return max(self._waiting, key=self._waiting.__getitem__)


_ALL: Final = Behind()


class SocketStream:
    """``Stream`` over a WebSocket. Invariants: ``_bytes`` is the size of ``_waiting``; ``over`` is set once the watch
    has ended, or the client is cut off or gone."""

    def __init__(self, socket: WebSocket, frames: Frames, behind: Behind | None = None) -> None:
        self._socket, self._frames = socket, frames
        self._behind = _ALL if behind is None else behind
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self.over = asyncio.Event()
        self._ended = self._lost = False
        self.cut_off = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def closed(self) -> bool:
        return self._ended or self._lost

    def push(self, batch: Batch) -> None:
        if self.closed or not batch.data:
            return
        if batch.frames is None:
            batch.frames = self._frames(batch.data)
        self._waiting.append(batch.frames)
        self._count(len(batch.frames))
        self._wake.set()
        if self._bytes > UNREAD_BYTES:
            self.abort()
        elif self._behind.bytes > ALL_UNREAD_BYTES:
            self._behind.worst().abort()

    async def write(self, data: bytes) -> None:
        if self.closed or not data:
            return
        try:
            await self._socket.send_frames(self._frames(data), UNREAD_SECONDS)
        except OSError:
            self.abort()

    def finish(self) -> None:
        self._ended = True
        self._wake.set()
        self.over.set()
        self._tell()

    def abort(self) -> None:
        self.cut_off = True
        self.lost()

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    async def send(self) -> None:
        """Sends what is pushed, until the watch is over and all of it is sent, or the client has gone."""
        while not self._lost:
            self._wake.clear()
            if self._waiting:
                try:
                    await self._socket.send_frames(self._next(), UNREAD_SECONDS)
                except OSError:
                    self.abort()
                    return
            elif self._ended:
                return
            else:
                await self._wake.wait()

    def _next(self) -> bytes:
        """A piece of what waits. No more: what waits is shared with other sockets, and joined it is one's own."""
        parts = [self._waiting.popleft()]
        size = len(parts[0])
        while self._waiting and size + len(self._waiting[0]) <= PIECE_BYTES:
            size += len(self._waiting[0])
            parts.append(self._waiting.popleft())
        self._count(-size)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def lost(self) -> None:
        """The stream is over, for whichever reason."""
        self._lost = True
        self._waiting.clear()
        self._count(-self._bytes)
        self._wake.set()
        self.over.set()
        self._tell()

    def _count(self, more: int) -> None:
        self._bytes += more
        self._behind.count(self, more, self._bytes)

    def _tell(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
