"""WebSocket frames (RFC 6455): cut anywhere, in pieces, and refused when broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.streams import websocket
from sampan.api.streams.websocket import Codec, Piece, WebSocketError

MASK = b"\x01\x02\x03\x04"


def masked(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    frame = bytearray(websocket.render_frame(opcode, data))
    frame[0] = (0x80 if fin else 0) | opcode
    frame[1] |= 0x80
    head = len(frame) - len(data)
    return bytes(frame[:head]) + MASK + websocket.unmask(data, MASK)


@given(st.binary(max_size=70000), st.integers(1, 9999))
def test_messages_survive_any_cut(data: bytes, step: int) -> None:
    codec, wire = Codec(), masked(websocket.BINARY, data) + masked(websocket.TEXT, b"next")
    pieces = [piece for cut in range(0, len(wire), step) for piece in codec.feed(wire[cut : cut + step])]
    first = [piece for piece in pieces if piece.opcode == websocket.BINARY]
    assert b"".join(piece.data for piece in first) == data
    assert [piece.first for piece in first] == [True] + [False] * (len(first) - 1)
    assert [piece.last for piece in first] == [False] * (len(first) - 1) + [True]
    assert b"".join(piece.data for piece in pieces if piece.opcode == websocket.TEXT) == b"next"


def test_fragments_are_one_message_and_control_frames_may_come_between() -> None:
    wire = masked(websocket.TEXT, b"ab", fin=False) + masked(websocket.PING, b"x") + masked(0, b"cd")
    assert list(Codec().feed(wire)) == [
        Piece(websocket.TEXT, b"ab", first=True, last=False),
        Piece(websocket.PING, b"x"),
        Piece(websocket.TEXT, b"cd", first=False, last=True),
    ]


def test_a_message_of_gigabytes_is_held_nowhere() -> None:
    codec = Codec()
    head = bytes([0x82, 0xFF]) + (1 << 40).to_bytes(8) + MASK
    assert list(codec.feed(head)) == []
    for _ in range(100):
        assert sum(len(piece.data) for piece in codec.feed(b"x" * 65536)) == 65536
    assert len(codec._buffer) == 0


@pytest.mark.parametrize(
    "wire",
    [
        b"\x82\x01x",  # not masked
        masked(0, b"x"),  # goes on with nothing
        b"\xc2\x80" + MASK,  # reserved bit
        masked(3, b""),  # no such frame
        masked(websocket.PING, b"x" * 126),
        masked(websocket.CLOSE, b"", fin=False),
        masked(websocket.TEXT, b"a", fin=False) + masked(websocket.TEXT, b"b"),
        b"\x82\xff" + b"\xff" * 8 + MASK,
    ],
)
def test_protocol_errors_are_refused(wire: bytes) -> None:
    with pytest.raises(WebSocketError):
        list(Codec().feed(wire))
