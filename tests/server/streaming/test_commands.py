"""exec, attach and portforward: what reaches the node, and how each client protocol is carried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sampan.api.errors import BadRequest, InternalError, NotFound
from sampan.api.streams import websocket
from sampan.server.request import Request
from sampan.server.streaming import backend
from sampan.server.streaming.handlers import StreamingHandlers

WS = {
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}
MakeRequest = Callable[..., Request]


def masked(data: bytes) -> bytes:
    frame = bytearray(websocket.render_frame(websocket.BINARY, data))
    frame[1] |= 0x80
    return bytes(frame) + b"\0\0\0\0" if not data else bytes(frame[: -len(data)]) + b"\0\0\0\0" + data


async def received(client: Any) -> list[bytes]:
    """All that the client gets until the connection is closed."""
    found = []
    while data := await client.from_server.get():
        found.append(data)
    return found


async def echo(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
    """A node that agrees to everything and copies back what it gets."""
    writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {headers['upgrade']}\r\n".encode())
    writer.write(b"Connection: Upgrade\r\nSec-WebSocket-Accept: k\r\nX-Node-Secret: 1\r\n\r\n")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_a_websocket_command_is_the_nodes_to_speak(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    node.behaviour = echo
    headers = {
        **WS,
        "sec-websocket-protocol": "v5.channel.k8s.io,base64url.bearer.authorization.k8s.io.YQ,v4.channel.k8s.io",
        "authorization": "Bearer secret",
        "origin": "http://localhost",
    }
    query = "container=a&command=cat&command=-u&stdin=true&stdout=true&stderr=true"
    client.to_server.put_nowait(masked(b"\x00hello"))
    serving = asyncio.create_task(handlers.handle(make_request("exec", query, headers)))
    assert await client.from_server.get() == masked(b"\x00hello")
    client.to_server.put_nowait(b"")
    assert (await serving).hijacked
    assert client.headers == {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Accept": "k"}
    line, sent = node.requests[0]
    assert line == "GET /exec/ns/p/a?input=1&output=1&error=1&command=cat&command=-u HTTP/1.1"
    assert sent["sec-websocket-protocol"] == "v5.channel.k8s.io, v4.channel.k8s.io"
    assert sent["sec-websocket-key"] == WS["sec-websocket-key"]
    assert "authorization" not in sent


async def test_a_client_that_leaves_takes_its_connection_to_the_node_with_it(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    gone = asyncio.Event()

    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        await echo(line, headers, reader, writer)
        gone.set()

    node.behaviour = behaviour
    client.to_server.put_nowait(b"")
    headers = {**WS, "sec-websocket-protocol": "v4.channel.k8s.io"}
    await handlers.handle(make_request("attach", "container=b&stdin=true", headers))
    await gone.wait()
    assert node.requests[0][0].startswith("GET /attach/ns/p/b?input=1&output=1&error=1 ")


async def test_a_client_that_leaves_a_stuck_upload_takes_its_connection_to_the_node_with_it(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_FLUSH_SECONDS", 0.05)
    cut = asyncio.Event()

    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n")
        await writer.drain()
        try:  # reads nothing, but asks whether anybody is there, as our nodes do
            while True:
                writer.write(b"ping")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            cut.set()

    node.behaviour = behaviour
    for _ in range(200):
        client.to_server.put_nowait(b"x" * 65536)
    headers = {"upgrade": "SPDY/3.1", "connection": "Upgrade", "x-stream-protocol-version": "v4.channel.k8s.io"}
    serving = asyncio.create_task(handlers.handle(make_request("exec", "container=a&command=x&stdin=1", headers)))
    assert await client.from_server.get() == b"ping"
    client.gone = True
    await serving
    await cut.wait()


async def test_spdy_is_piped_untouched(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n")
        writer.write(b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\nearly")
        writer.write(await reader.readexactly(3))
        await writer.drain()

    node.behaviour = behaviour
    client.to_server.put_nowait(b"abc")
    headers = {"upgrade": "SPDY/3.1", "connection": "Upgrade", "x-stream-protocol-version": "v4.channel.k8s.io"}
    await handlers.handle(make_request("exec", "container=a&command=ls&stdout=1", headers, method="POST"))
    assert (client.status, client.headers["X-Stream-Protocol-Version"]) == (101, "v4.channel.k8s.io")
    assert b"".join(await received(client)) == b"earlyabc"


async def test_a_port_forward_tunnel_carries_raw_bytes(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n")
        writer.write((await reader.readexactly(4)).upper())
        await writer.drain()

    node.behaviour = behaviour
    client.to_server.put_nowait(masked(b"spdy"))
    headers = {**WS, "sec-websocket-protocol": "SPDY/3.1+portforward.k8s.io"}
    await handlers.handle(make_request("portforward", "", headers))
    assert client.headers["Sec-WebSocket-Protocol"] == "SPDY/3.1+portforward.k8s.io"
    assert (await received(client))[0] == websocket.render_frame(websocket.BINARY, b"SPDY")
    assert node.requests[0][0] == "POST /portForward/ns/p HTTP/1.1"
    assert node.requests[0][1]["x-stream-protocol-version"] == "portforward.k8s.io"


async def test_nothing_is_relayed_when_the_node_refuses_the_upgrade(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nnoo")
        await writer.drain()
        assert await reader.read() == b""

    node.behaviour = behaviour
    client.to_server.put_nowait(b"GET /pods HTTP/1.1\r\n\r\n")
    headers = {"upgrade": "SPDY/3.1", "connection": "Upgrade"}
    response = await handlers.handle(make_request("exec", "container=a&command=ls&stdout=1", headers))
    assert (response.status, response.body, client.status) == (400, b"noo", 0)


async def test_a_redirect_of_the_node_is_an_error(
    handlers: StreamingHandlers, node: Any, make_request: MakeRequest
) -> None:
    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    node.behaviour = behaviour
    headers = {"upgrade": "SPDY/3.1", "connection": "Upgrade"}
    with pytest.raises(InternalError):
        await handlers.handle(make_request("exec", "container=a&command=ls&stdout=1", headers))


@pytest.mark.parametrize(
    ("subresource", "query", "message"),
    [
        ("exec", "container=a&command=ls&stdout=1", "Upgrade request required"),
        ("exec", "command=ls&stdout=1", "a container name must be specified for pod p, choose one of: [a b]"),
        ("exec", "container=x&command=ls&stdout=1", "container x is not valid for pod p"),
        ("exec", "container=a&stdout=1", "you must specify a command for the container"),
        ("exec", "container=a&command=ls", "you must specify at least 1 of stdin, stdout, stderr"),
    ],
)
async def test_bad_commands_are_refused(
    handlers: StreamingHandlers, make_request: MakeRequest, subresource: str, query: str, message: str
) -> None:
    headers = {} if "required" in message else {"upgrade": "SPDY/3.1", "connection": "Upgrade"}
    with pytest.raises(BadRequest) as caught:
        await handlers.handle(make_request(subresource, query, headers))
    assert caught.value.message == message


async def test_an_unknown_pod_is_not_found(handlers: StreamingHandlers, make_request: MakeRequest) -> None:
    with pytest.raises(NotFound):
        await handlers.handle(make_request("exec", "command=ls", name="nobody"))
