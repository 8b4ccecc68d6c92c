"""The server's side of a WebSocket (RFC 6455) over a hijacked connection.

``Codec`` parses and renders frames without I/O; ``WebSocket`` puts it on a ``Connection``. No extensions; fragmented
messages are put together; pings are answered. One task reads, any number write.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sampan.api.errors import BadRequest, Forbidden
from sampan.server.request import Connection, Request

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, TOO_BIG, INTERNAL_ERROR = 1000, 1002, 1009, 1011
MAX_MESSAGE_BYTES = 32 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """The client broke the protocol; ``code`` is for the close frame."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    opcode: int
    data: bytes


def is_websocket(request: Request) -> bool:
    return request.headers.get("upgrade", "").lower() == "websocket"


def offered_protocols(request: Request) -> list[str]:
    return [part.strip() for part in request.headers.get("sec-websocket-protocol", "").split(",") if part.strip()]


def accept_headers(request: Request, protocol: str) -> Mapping[str, str]:
    """The head of the 101 answer. Raises BadRequest, or Forbidden for a page of a foreign origin."""
    key = request.headers.get("sec-websocket-key", "")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        valid = False
    if not valid or request.headers.get("sec-websocket-version") != "13":
        raise BadRequest("not a valid WebSocket handshake: version 13 and a 16 byte key are needed")
    check_origin(request)
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    return {**headers, "Sec-WebSocket-Protocol": protocol} if protocol else headers


def check_origin(request: Request) -> None:
    """Browsers name the page's origin: pages of other hosts get nothing, even with a client certificate at hand.

    ``localhost`` is what non-browser libraries send when they must send something.
    """
    origin = request.headers.get("origin", "")
    host = urlsplit(origin).netloc
    if origin and host not in (request.headers.get("host", ""), "localhost"):
        raise Forbidden("WebSocket requests from a foreign origin are not allowed")


class Codec:
    """Parses the client's (masked) frames. Holds an incomplete frame and an incomplete message."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._opcode = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """Complete messages, control frames among them. Raises WebSocketError."""
        self._buffer += data
        while (frame := self._take_frame()) is not None:
            message = self._assemble(*frame)
            if message is not None:
                yield message

    def _take_frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        fin, opcode, masked, length = bool(buffer[0] & 0x80), buffer[0] & 0x0F, buffer[1] & 0x80, buffer[1] & 0x7F
        if buffer[0] & 0x70 or not masked:
            raise WebSocketError(PROTOCOL_ERROR, "reserved bits or unmasked frame")
        extra = {126: 2, 127: 8}.get(length, 0)
        start = 2 + extra + 4
        if len(buffer) < start:
            return None
        if extra:
            length = int.from_bytes(buffer[2 : 2 + extra])
        if length > MAX_MESSAGE_BYTES:
            raise WebSocketError(TOO_BIG, "message too big")
        if len(buffer) < start + length:
            return None
        mask = bytes(buffer[start - 4 : start])
        payload = unmask(bytes(buffer[start : start + length]), mask)
        del buffer[: start + length]
        return fin, opcode, payload

    def _assemble(self, fin: bool, opcode: int, payload: bytes) -> Message | None:
        if opcode >= CLOSE:
            if not fin or len(payload) > 125:
                raise WebSocketError(PROTOCOL_ERROR, "fragmented control frame")
            return Message(opcode, payload)
        if bool(self._parts) != (opcode == CONTINUATION):
            raise WebSocketError(PROTOCOL_ERROR, "continuation out of place")
        if opcode != CONTINUATION:
            self._opcode = opcode
        if fin and not self._parts:
            return Message(self._opcode, payload)
        self._parts.append(payload)
        if sum(map(len, self._parts)) > MAX_MESSAGE_BYTES:
            raise WebSocketError(TOO_BIG, "message too big")
        if not fin:
            return None
        whole, self._parts = b"".join(self._parts), []
        return Message(self._opcode, whole)


def unmask(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as two big integers: fast without a loop in Python. Also masks."""
    if not data:
        return b""
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(len(data))


def render_frame(opcode: int, data: bytes) -> bytes:
    """One unfragmented, unmasked frame: what a server sends."""
    length = len(data)
    if length < 126:
        head = bytes((0x80 | opcode, length))
    elif length < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 126, length)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, length)
    return head + data


class WebSocket:
    """An accepted WebSocket. Close it in the end; closing twice is harmless."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._codec = connection, Codec()
        self._pending: list[Message] = []
        self._lock = asyncio.Lock()
        self._closed = False

    async def receive(self) -> Message | None:
        """The next text or binary message; None when the client is gone or said goodbye.

        After a protocol error the close frame has been sent and None is returned.
        """
        while True:
            while self._pending:
                message = self._pending.pop(0)
                if message.opcode in (TEXT, BINARY):
                    return message
                if message.opcode == CLOSE:
                    await self.close()
                    return None
                if message.opcode == PING:
                    await self._send(PONG, message.data)
            try:
                data = await self._connection.read()
                if not data:
                    return None
                self._pending.extend(self._codec.feed(data))
            except WebSocketError as error:
                await self.close(error.code, str(error))
                return None
            except OSError:
                return None

    async def send(self, data: bytes, opcode: int = BINARY) -> None:
        """Raises ConnectionError when the client is gone."""
        await self._send(opcode, data)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Says goodbye and closes the connection."""
        if self._closed:
            return
        try:
            await self._send(CLOSE, struct.pack(">H", code) + reason.encode()[:123])
        except OSError:
            pass  # the client did not wait for it
        self._closed = True
        self._connection.close()

    async def _send(self, opcode: int, data: bytes) -> None:
        async with self._lock:
            if not self._closed:
                await self._connection.write(render_frame(opcode, data))
