"""exec, attach, port-forward: joined byte for byte, and refused properly."""

from __future__ import annotations

from typing import Any

import pytest

NodeWorld = Any  # the fixtures of conftest.py
Backend = Any

POD = {
    "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
    "spec": {"containers": [{"name": "c", "tty": True}]},
}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n"
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}


async def upgrade(node: NodeWorld, path: str, method: str = "POST", **headers: str) -> Any:
    reader, writer = await node.connect()
    lines = [f"{method} {path} HTTP/1.1", "Host: node", "Authorization: Bearer secret"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in ({**SPDY, **headers}).items()]
    if method == "POST":
        lines.append("Content-Length: 0")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return reader, writer


@pytest.fixture
def running(node: NodeWorld) -> NodeWorld:
    node.pods["ns/web"] = POD
    node.runtime.add("id1", "running")
    return node


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_exec_is_piped_both_ways(running: NodeWorld, backend: Backend, method: str) -> None:
    heads: list[str] = []
    async with backend(SWITCH, heads, []) as url:
        running.runtime.url = url
        reader, writer = await upgrade(running, "/exec/ns/web/c?command=ls&command=-l&output=1&input=1", method)
        assert await reader.readuntil(b"\r\n\r\n") == SWITCH
        big = b"x" * 300_000
        writer.write(big)
        assert await reader.readexactly(len(big)) == big.upper()
        writer.close()
    assert heads[0].startswith(f"{method} /exec/token?x=1 HTTP/1.1\r\n")
    assert "X-Stream-Protocol-Version: v4.channel.k8s.io" in heads[0]
    assert "secret" not in heads[0]
    options = {"tty": False, "stdin": True, "stdout": True, "stderr": False}
    assert running.runtime.asked == [("id1", ["ls", "-l"], options)]


async def test_websocket_upgrade_is_piped_too(running: NodeWorld, backend: Backend) -> None:
    heads: list[str] = []
    async with backend(SWITCH, heads, []) as url:
        running.runtime.url = url
        headers = {
            "Upgrade": "websocket",
            "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec_WebSocket_Protocol": "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0",
        }
        reader, writer = await upgrade(running, "/attach/ns/web/c?output=1", "GET", **headers)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"frame")
        assert await reader.readexactly(5) == b"FRAME"
        writer.close()
    assert "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n" in heads[0]
    assert running.runtime.asked == [("id1", {"tty": True, "stdin": False, "stdout": True, "stderr": False})]


async def test_refused_upgrade_leaves_no_tunnel(running: NodeWorld, backend: Backend) -> None:
    after: list[bytes] = []
    async with backend(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", [], after) as url:
        running.runtime.url = url
        reader, writer = await upgrade(running, "/exec/ns/web/c?command=ls&output=1")
        writer.write(b"POST /exec/other HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert await reader.readexactly(2) == b"no"
        writer.close()
    assert after == []


async def test_redirect_is_not_followed(running: NodeWorld, backend: Backend) -> None:
    async with backend(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", [], []) as url:
        running.runtime.url = url
        reader, writer = await upgrade(running, "/exec/ns/web/c?command=ls&output=1")
        assert (await reader.readline()).startswith(b"HTTP/1.1 502 ")
        writer.close()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/exec/ns/none/c?command=ls&output=1", 404, "pod does not exist"),
        ("/exec/ns/web/other-uid/c?command=ls&output=1", 404, "pod does not exist"),
        ("/exec/ns/web/none?command=ls&output=1", 404, 'container not found ("none")'),
        ("/exec/ns/web/c?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/portForward/ns/web", 404, 'pod not found ("web_ns")'),
    ],
)
async def test_refusals_are_upstreams(running: NodeWorld, path: str, status: int, text: str) -> None:
    reader, writer = await upgrade(running, path)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert int(head.split()[1]) == status
    assert (await reader.readexactly(len(text))).decode() == text
    writer.close()


async def test_no_upgrade_header_is_a_bad_request(running: NodeWorld) -> None:
    path = "/exec/ns/web/c?command=ls&output=1"
    assert await running.request(path, "POST") == (400, "Upgrade request required")
