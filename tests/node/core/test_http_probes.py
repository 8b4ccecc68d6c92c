"""httpGet probes follow redirects on the pod's own host only."""

from __future__ import annotations

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
