"""The handshake of WebSockets (RFC 6455)."""

from __future__ import annotations

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
