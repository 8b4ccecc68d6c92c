"""A client's connection after its upgrade: raw bytes both ways, over the connection that aiohttp has accepted."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

from sampan.api.errors import BadRequest

_BLOCK_BYTES = 64 << 10
#: what may wait to be sent before a message that may be left out is left out
_BUSY_BYTES = 16 << 10
_FLUSH_SECONDS = 5.0
_LINGER_NOT = struct.pack("ii", 1, 0)


def reset(transport: asyncio.WriteTransport) -> None:
    """Ends a connection at once. What was not sent is dropped, in the kernel too."""
    raw = transport.get_extra_info("socket")
    try:
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    except (OSError, ValueError):  # as uvloop says it
        pass  # gone already
    transport.abort()


def check_upgrade(request: web.BaseRequest) -> None:
    """Raises BadRequest, as upstream, when the request asks for no upgrade."""
    tokens = request.headers.get("Connection", "").lower()
    if "upgrade" not in tokens or not request.headers.get("Upgrade"):
        raise BadRequest("Upgrade request required")


class Hijacked(web.StreamResponse):
    """Stands in for the answer of a connection that was taken over: aiohttp must write nothing."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Paused:
    """Of a transport, what a StreamReader calls. One that has gone is not resumed: asyncio's own of TLS fails then."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


class ClientConnection:
    """aiohttp hands over what it receives as to a WebSocket reader (``set_parser``), including bytes that came right
    behind the request; the StreamReader pauses the transport when nobody reads.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        self._request = request
        self._transport = request.transport
        self._reader = asyncio.StreamReader(limit=_BLOCK_BYTES)
        self._reader.set_transport(_Paused(request.transport))  # type: ignore[arg-type]  # it pauses and resumes only
        request.protocol.set_parser(self)  # type: ignore[arg-type]  # it needs feed_data and feed_eof only

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self._reader.feed_eof()

    def switch(self, headers: Mapping[str, str]) -> None:
        """Answers 101. Raises ConnectionError."""
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items())]
        self._send("\r\n".join((*lines, "", "")).encode("latin-1"))

    async def read(self) -> bytes:
        """At most 64 KiB; b"" when the client has gone."""
        return await self._reader.read(_BLOCK_BYTES)

    async def write(self, data: bytes) -> None:
        """Waits while the client does not keep up. Raises ConnectionError."""
        self._send(data)
        await self._request.writer.drain()

    def write_if_idle(self, data: bytes) -> None:
        """Sends what may as well be left out while other data waits to be sent. Raises ConnectionError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        if self._transport.get_write_buffer_size() < _BUSY_BYTES:
            self._transport.write(data)

    def _send(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    def close(self) -> None:
        """Ends the connection when all is sent, or after some seconds without what was not."""
        if self._transport.is_closing():
            return
        unsent = self._transport.get_write_buffer_size()
        self._transport.close()
        if unsent:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, reset, self._transport)
