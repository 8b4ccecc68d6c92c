"""WebSocket frames (RFC 6455) without I/O: what a server receives (masked) and sends (unmasked). No extensions.

Messages are given out as they arrive, in pieces, so that one of any size needs no memory; only control frames, which
are short, are put together.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator

from sampan.records import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, TOO_BIG, INTERNAL_ERROR = 1000, 1002, 1009, 1011
_MAX_CONTROL_BYTES = 125
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketError(Exception):
    """The peer broke the protocol; ``code`` is for the close frame."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a message, or a whole control frame. ``first``, ``last``: of its message."""

    opcode: int
    data: bytes
    first: bool = True
    last: bool = True


@dataclass(slots=True)
class _Frame:
    """The frame that is being received. ``position`` counts payload bytes seen, for the mask."""

    fin: bool
    opcode: int
    length: int
    mask: bytes
    position: int = 0


def is_valid_key(key: str) -> bool:
    """``Sec-WebSocket-Key`` is 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


class Codec:
    """One connection's receiving side. Invariant: ``_opcode`` is that of the message under way, 0 between messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frame: _Frame | None = None
        self._opcode = 0
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What is complete now. Raises WebSocketError, after which nothing more must be fed."""
        self._buffer += data
        while True:
            if self._frame is None and not self._take_head():
                return
            piece = self._take_payload()
            if piece is None:
                return
            yield piece

    def _take_head(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        fin, opcode, masked, length = bool(buffer[0] & 0x80), buffer[0] & 0x0F, buffer[1] & 0x80, buffer[1] & 0x7F
        if buffer[0] & 0x70 or not masked:
            raise WebSocketError(PROTOCOL_ERROR, "reserved bits or unmasked frame")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise WebSocketError(PROTOCOL_ERROR, "unknown frame")
        if opcode >= CLOSE and (not fin or length > _MAX_CONTROL_BYTES):
            raise WebSocketError(PROTOCOL_ERROR, "long or fragmented control frame")
        if opcode < CLOSE and bool(self._opcode) != (opcode == CONTINUATION):
            raise WebSocketError(PROTOCOL_ERROR, "continuation out of place")
        extra = {126: 2, 127: 8}.get(length, 0)
        start = 2 + extra + 4
        if len(buffer) < start:
            return False
        if extra:
            length = int.from_bytes(buffer[2 : 2 + extra])
        if length >> 63:
            raise WebSocketError(PROTOCOL_ERROR, "length with a sign")
        self._frame = _Frame(fin, opcode, length, bytes(buffer[start - 4 : start]))
        del buffer[:start]
        if opcode in (TEXT, BINARY):
            self._opcode, self._begun = opcode, False
        return True

    def _take_payload(self) -> Piece | None:
        """The next piece of the current frame. None: more must come."""
        frame = self._frame
        assert frame is not None
        is_control = frame.opcode >= CLOSE
        wanted = frame.length - frame.position
        if len(self._buffer) < wanted and (is_control or not self._buffer):
            return None
        data = bytes(self._buffer[:wanted])
        del self._buffer[:wanted]
        turn = frame.position % 4
        data = unmask(data, frame.mask[turn:] + frame.mask[:turn])
        frame.position += len(data)
        ended = frame.position == frame.length
        if ended:
            self._frame = None
        if is_control:
            return Piece(frame.opcode, data)
        piece = Piece(self._opcode, data, first=not self._begun, last=ended and frame.fin)
        self._begun = True
        if piece.last:
            self._opcode = 0
        return piece


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


def render_close(code: int, reason: str = "") -> bytes:
    return render_frame(CLOSE, struct.pack(">H", code) + reason.encode()[: _MAX_CONTROL_BYTES - 2])
