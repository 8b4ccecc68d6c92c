"""httpGet probes follow redirects on the pod's own host only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from sampan.api.clock import SystemClock
from sampan.node.probes.check import Outcome, Target, check
from sampan.node.simulated import SimulatedRuntime


@pytest.mark.parametrize(
    ("path", "result", "output"),
    [
        ("/here", "success", "ok"),
        ("/elsewhere", "success", ""),
        ("/round", "failure", "stopped after 10 redirects"),
        ("/broken", "failure", "HTTP probe failed with statuscode: 500"),
    ],
)
async def test_redirects_are_followed_on_the_same_host_only(path: str, result: str, output: str) -> None:
    places = {"/here": "/ok", "/elsewhere": "http://192.0.2.99:1/", "/round": "/round"}

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path in places:
            return web.Response(status=302, headers={"Location": places[request.path]})
        return web.Response(text="ok") if request.path == "/ok" else web.Response(status=500)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        action = {"httpGet": {"path": path, "port": runner.addresses[0][1]}}
        found: Outcome = await check(
            action, Target("c", {"name": "main"}, "127.0.0.1"), SimulatedRuntime(SystemClock()), 1.0
        )
    finally:
        await runner.cleanup()
    assert found.result == result
    assert output in found.output


@pytest.mark.parametrize(
    ("probe", "said", "output"),
    [
        (
            {"httpGet": {"path": "/", "scheme": "HTTPS"}},
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "first record does not look",
        ),
        ({"httpGet": {"path": "/"}}, b"nothing of HTTP\r\n\r\n", "malformed HTTP response"),
        ({"httpGet": {"path": "/"}}, b"", "EOF"),
        ({"httpGet": {"path": "/"}}, None, "connect: connection refused"),
        ({"tcpSocket": {}}, None, "connect: connection refused"),
    ],
)
async def test_a_probe_that_fails_says_so_in_upstreams_words(
    probe: dict[str, Any], said: bytes | None, output: str
) -> None:
    """``said`` None: nobody listens any more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said or b"")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        if said is None:
            server.close()
        action = {kind: {"port": port, **fields} for kind, fields in probe.items()}
        found = await check(action, Target("c", {"name": "main"}, "127.0.0.1"), SimulatedRuntime(SystemClock()), 1.0)
    assert found.result == "failure"
    assert output in found.output
    assert "Errno" not in found.output
    assert "(_ssl" not in found.output
