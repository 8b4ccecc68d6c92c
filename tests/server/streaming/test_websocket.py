"""WebSocket framing and handshake (RFC 6455)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.errors import BadRequest, Forbidden
from sampan.server.request import Request
from sampan.server.streaming import websocket
from sampan.server.streaming.websocket import Codec, Message, WebSocketError

MASK = b"\x01\x02\x03\x04"


def masked(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    frame = bytearray(websocket.render_frame(opcode, data))
    frame[0] = (0x80 if fin else 0) | opcode
    frame[1] |= 0x80
    head = len(frame) - len(data)
    return bytes(frame[:head]) + MASK + websocket.unmask(data, MASK)


@given(st.binary(max_size=70000), st.integers(1, 9999))
def test_messages_survive_any_cut(data: bytes, step: int) -> None:
    codec, wire = Codec(), masked(websocket.BINARY, data)
    found = [m for cut in range(0, len(wire), step) for m in codec.feed(wire[cut : cut + step])]
    assert found == [Message(websocket.BINARY, data)]


def test_fragments_become_one_message_and_control_frames_may_come_between() -> None:
    wire = masked(websocket.TEXT, b"ab", fin=False) + masked(websocket.PING, b"x") + masked(0, b"cd")
    assert list(Codec().feed(wire)) == [Message(websocket.PING, b"x"), Message(websocket.TEXT, b"abcd")]


@pytest.mark.parametrize("wire", [b"\x82\x01x", masked(0, b"x"), b"\xc2\x80" + MASK])
def test_protocol_errors_are_refused(wire: bytes) -> None:
    with pytest.raises(WebSocketError):
        list(Codec().feed(wire))


def handshake(**headers: str) -> Request:
    base = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13", "host": "api:6443"}
    return Request("GET", "/", {}, {**base, **headers})


def test_the_accept_key_is_the_one_of_the_rfc() -> None:
    headers = websocket.accept_headers(handshake(), "p")
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_foreign_origin_is_refused_and_our_own_is_not() -> None:
    websocket.accept_headers(handshake(origin="https://api:6443"), "")
    with pytest.raises(Forbidden):
        websocket.accept_headers(handshake(origin="https://evil.example"), "")


def test_an_invalid_handshake_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        websocket.accept_headers(handshake(**{"sec-websocket-key": "short"}), "")
