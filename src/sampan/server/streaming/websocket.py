"""The server's side of a WebSocket over a hijacked connection, and its handshake.

Frames are ``sampan.api.streams.websocket``'s. Messages come in pieces, as they arrive; pings are answered. One task
reads, any number write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from sampan.api.errors import BadRequest, Forbidden
from sampan.api.streams.websocket import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    PONG,
    TEXT,
    Codec,
    Piece,
    WebSocketError,
    accept_key,
    is_valid_key,
    render_close,
    render_frame,
)
from sampan.server.request import Connection, Request

#: how much is written before it is looked whether the peer takes it
PIECE_BYTES: Final = 64 * 1024


def is_websocket(request: Request) -> bool:
    return request.headers.get("upgrade", "").lower() == "websocket"


def is_upgrade(request: Request) -> bool:
    """Asks for a WebSocket where an ordinary answer would do as well."""
    return is_websocket(request) and "upgrade" in request.headers.get("connection", "").lower()


def offered_protocols(request: Request) -> list[str]:
    parts = ",".join(request.header_values("sec-websocket-protocol")).split(",")
    return [part.strip() for part in parts if part.strip()]


def accept_headers(request: Request, protocol: str) -> Mapping[str, str]:
    """The head of the 101 answer. Raises BadRequest, or Forbidden for a page of a foreign origin."""
    key = request.headers.get("sec-websocket-key", "")
    if not is_valid_key(key) or request.headers.get("sec-websocket-version") != "13":
        raise BadRequest("not a valid WebSocket handshake: version 13 and a 16 byte key are needed")
    check_origin(request)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_key(key)}
    return {**headers, "Sec-WebSocket-Protocol": protocol} if protocol else headers


def check_origin(request: Request) -> None:
    """Browsers name the page's origin: pages of other hosts get nothing, even with a client certificate at hand.

    ``localhost`` is what non-browser libraries send when they must send something.
    """
    origin = request.headers.get("origin", "")
    host = urlsplit(origin).netloc
    if origin and host not in (request.headers.get("host", ""), "localhost"):
        raise Forbidden("WebSocket requests from a foreign origin are not allowed")


class WebSocket:
    """An accepted WebSocket. Close it in the end; closing twice is harmless."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._codec = connection, Codec()
        self._pending: Iterator[Piece] = iter(())
        self._lock = asyncio.Lock()
        self._closed = False
        #: a frame was begun and not ended: nothing that follows would be understood
        self._torn = False

    async def receive(self) -> Piece | None:
        """The next piece of a text or binary message; None when the client is gone or said goodbye.

        After a protocol error the close frame has been sent and None is returned.
        """
        while True:
            try:
                for piece in self._pending:
                    if piece.opcode in (TEXT, BINARY):
                        return piece
                    if piece.opcode == CLOSE:
                        await self.close()
                        return None
                    if piece.opcode == PING:
                        await self._send(render_frame(PONG, piece.data))
                data = await self._connection.read()
                if not data:
                    return None
                self._pending = self._codec.feed(data)
            except WebSocketError as error:
                await self.close(error.code, str(error))
                return None
            except OSError:
                return None

    async def send(self, data: bytes, opcode: int = BINARY) -> None:
        """Raises ConnectionError when the client is gone."""
        await self._send(render_frame(opcode, data))

    async def send_frames(self, frames: bytes, seconds: float) -> None:
        """Sends what is rendered already. Raises ConnectionError when the client is gone, TimeoutError when it has
        not taken a piece of it for so long."""
        async with self._lock:
            self._torn = True
            for at in range(0, len(frames), PIECE_BYTES):
                if self._closed:
                    return
                async with asyncio.timeout(seconds):
                    await self._connection.write(frames[at : at + PIECE_BYTES])
            self._torn = False

    def abort(self) -> None:
        """Ends the connection without a word, and without waiting for what the client has not taken."""
        self._closed = True
        self._connection.abort()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Says goodbye and closes the connection."""
        if self._closed:
            return
        if self._torn:
            self.abort()
            return
        try:
            await self._send(render_close(code, reason))
        except OSError:
            pass  # the client did not wait for it
        self._closed = True
        self._connection.close()

    async def _send(self, frame: bytes) -> None:
        async with self._lock:
            if not self._closed:
                await self._connection.write(frame)
