"""Components in the server's process list and watch what extension API servers serve, as others do over HTTP."""

from __future__ import annotations

import orjson
import pytest
from aiohttp import web
from tests.server.aggregation.conftest import ROOT, Front, Sample

from sampan.api.errors import NotFound
from sampan.api.transport import Call

FLUNDERS = f"{ROOT}/namespaces/default/flunders"


async def test_a_component_lists_and_watches_them(front: Front, sample: Sample, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    transport = front.server.local_transport()
    listed = await transport.call(Call("GET", FLUNDERS))
    assert [item["metadata"]["name"] for item in listed["items"]] == ["f"]
    for kind in ("ADDED", "DELETED"):
        await sample.events.put(orjson.dumps({"type": kind, "object": {"metadata": {"name": "f"}}}) + b"\n")
    await sample.events.put(None)
    async with transport.watch(Call("GET", FLUNDERS, {"watch": "1"})) as events:
        assert [(event.type, event.object["metadata"]["name"]) async for event in events] == [
            ("ADDED", "f"),
            ("DELETED", "f"),
        ]


async def test_a_watch_that_is_refused_is_an_error(front: Front, sample: Sample, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound", "message": "no"}, status=404)

    sample.instead[FLUNDERS] = refuse
    with pytest.raises(NotFound):
        async with front.server.local_transport().watch(Call("GET", FLUNDERS, {"watch": "1"})):
            pass
