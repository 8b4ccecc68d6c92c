"""Components in the server's process list and watch what extension API servers serve, as others do over HTTP."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from aiohttp import web
from tests.server.aggregation.conftest import ROOT, Front, Sample

from sampan.api.errors import BadRequest, InternalError, NotFound
from sampan.api.transport import Call
from sampan.server import local

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


async def test_an_answer_without_end_is_not_taken_in(
    front: Front, sample: Sample, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    monkeypatch.setattr(local, "MOST_ANSWER_BYTES", 1 << 20)

    async def flood(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):  # until nobody takes more
            while True:
                await answer.write(b" " * (64 << 10))
        return answer

    sample.instead[FLUNDERS] = flood
    with pytest.raises(InternalError, match="the answer is longer than 1048576 bytes"):
        await front.server.local_transport().call(Call("GET", FLUNDERS))


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b"1"])
async def test_answers_and_events_that_make_no_sense_are_errors(
    front: Front, sample: Sample, bundle: str, line: bytes
) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")

    async def babble(request: web.Request) -> web.StreamResponse:
        return web.Response(body=line + b"\n", content_type="application/json")

    sample.instead[FLUNDERS] = babble
    transport = front.server.local_transport()
    async with transport.watch(Call("GET", FLUNDERS, {"watch": "1"})) as events:
        with pytest.raises(BadRequest, match="an event of the watch cannot be read"):
            await anext(events)
    if line == b"{":
        with pytest.raises(InternalError, match="the answer is not JSON"):
            await transport.call(Call("GET", FLUNDERS))
