"""exec, attach and portforward: what reaches the node, and how each client protocol is carried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sampan.api.errors import BadRequest, InternalError, NotFound
from sampan.server.request import Request
from sampan.server.streaming import spdy, websocket
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
    """All frames the client gets until the connection is closed, as raw bytes."""
    found = []
    while data := await client.from_server.get():
        found.append(data)
    return found


async def spdy_cat(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
    """A streaming server that copies stdin to stdout and reports success."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n")
    codec, streams = spdy.Codec(), {}
    while data := await reader.read(65536):
        for frame in codec.feed(data):
            if frame.kind == spdy.SYN_STREAM:
                streams[frame.stream_id] = frame.headers["streamtype"]
                writer.write(codec.syn_reply(frame.stream_id, {}))
            elif frame.kind == spdy.DATA and streams[frame.stream_id] == "stdin":
                ids = {name: stream_id for stream_id, name in streams.items()}
                if frame.data:
                    writer.write(spdy.data_frame(ids["stdout"], frame.data))
                if frame.fin:
                    writer.write(spdy.ping_frame(2) + spdy.data_frame(ids["error"], b'{"status":', fin=False))
                    writer.write(spdy.data_frame(ids["error"], b'"Success"}', fin=True))
                    writer.write(spdy.data_frame(ids["stdout"], b"", fin=True))
                    writer.write(spdy.data_frame(ids["stderr"], b"", fin=True))


async def test_a_websocket_v5_command_is_translated(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    node.behaviour = spdy_cat
    headers = {**WS, "sec-websocket-protocol": "v5.channel.k8s.io, v4.channel.k8s.io"}
    query = "container=a&command=cat&command=-u&stdin=true&stdout=true&stderr=true"
    client.to_server.put_nowait(masked(b"\x00hello"))
    client.to_server.put_nowait(masked(b"\xff\x00"))
    response = await handlers.handle(make_request("exec", query, headers))
    assert response.hijacked
    assert client.headers["Sec-WebSocket-Protocol"] == "v5.channel.k8s.io"
    frames = await received(client)
    render = websocket.render_frame
    assert frames == [
        render(websocket.BINARY, b"\x01"),
        render(websocket.BINARY, b"\x01hello"),
        render(websocket.BINARY, b'\x03{"status":"Success"}'),
        render(websocket.CLOSE, b"\x03\xe8"),
    ]
    line, sent = node.requests[0]
    assert line == "POST /exec/ns/p/a?input=1&output=1&error=1&command=cat&command=-u HTTP/1.1"
    assert sent["x-stream-protocol-version"] == "v4.channel.k8s.io"
    assert "authorization" not in sent


async def test_a_client_that_leaves_takes_the_command_with_it(
    handlers: StreamingHandlers, node: Any, client: Any, make_request: MakeRequest
) -> None:
    gone = asyncio.Event()

    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        await spdy_cat(line, headers, reader, writer)
        gone.set()

    node.behaviour = behaviour
    client.to_server.put_nowait(b"")
    headers = {**WS, "sec-websocket-protocol": "v4.channel.k8s.io"}
    await handlers.handle(make_request("attach", "container=b&stdin=true", headers))
    await gone.wait()
    assert node.requests[0][0].startswith("POST /attach/ns/p/b?input=1&output=1&error=1 ")


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
