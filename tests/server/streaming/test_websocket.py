"""The handshake of WebSockets (RFC 6455)."""

from __future__ import annotations

import random

import pytest

from sampan.api.errors import BadRequest, Forbidden
from sampan.server.request import Request
from sampan.server.streaming import websocket


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


class Scripted:
    """A connection that gives what it was made with in small pieces, then the end."""

    def __init__(self, data: bytes, rng: random.Random) -> None:
        self.data, self.rng, self.sent, self.closed = data, rng, 0, False

    async def read(self, limit: int = 65536) -> bytes:
        size = self.rng.randrange(1, 64)
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    async def write(self, data: bytes) -> None:
        self.sent += len(data)

    def close(self) -> None:
        self.closed = True


def hostile(rng: random.Random) -> bytes:
    pieces = []
    for _ in range(rng.randrange(1, 12)):
        head = bytes([rng.choice([0x80, 0, 0xF0]) | rng.randrange(16), 0x80 | rng.choice([0, 3, 125, 126, 127])])
        pieces.append(rng.choice([head, b""]) + rng.randbytes(rng.randrange(40)))
    return b"".join(pieces)


async def test_thousands_of_hostile_clients_end_without_an_error() -> None:
    for seed in range(2000):
        rng = random.Random(seed)
        connection = Scripted(hostile(rng), rng)
        socket = websocket.WebSocket(connection)
        while await socket.receive() is not None:
            pass
        await socket.close()
        assert connection.closed
        assert connection.sent < 4096
