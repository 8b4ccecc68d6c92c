"""Copies of requests, by the real program: what arrives where, and that nobody waits for their answers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from edge_lab import ADDRESS, HTTP, OWNER, Lab, ask, connected, lab

from sampan.edge.model import (
    Backend,
    Endpoint,
    HeaderEdit,
    Listener,
    Match,
    Mirror,
    PathEdit,
    PathMatch,
    Plane,
    Rewrite,
    Route,
    VirtualHost,
    Weighted,
)

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")


@dataclass
class Shadow:
    """A server that keeps what it gets, and answers when it is let."""

    endpoint: Endpoint
    got: list[dict[str, Any]] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def holds(self, count: int) -> None:
        while len(self.got) < count:
            self.came.clear()
            await self.came.wait()


@contextlib.asynccontextmanager
async def shadow() -> AsyncIterator[Shadow]:
    made = Shadow(Endpoint("127.0.0.1", 1))
    made.answers.set()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {key.lower(): value for key, value in request.headers.items()}
        made.got.append({"method": request.method, "path": request.raw_path, "headers": headers, "body": body})
        made.came.set()
        await made.answers.wait()
        return web.Response(text="ignored", status=500)

    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        sockets = site._server.sockets  # type: ignore[union-attr]
        made.endpoint = Endpoint("127.0.0.1", sockets[0].getsockname()[1])
        yield made
    finally:
        made.answers.set()
        await runner.cleanup()


def plane(main: Endpoint, *mirrors: Mirror, **more: Any) -> Plane:
    backend = Backend("default/web:80", (main,))
    route = Route("r", OWNER, Match(PathMatch("prefix", "/")), (Weighted(backend),), mirrors=mirrors, **more)
    return Plane((Listener("http", HTTP, "http", ADDRESS, (VirtualHost("web.io", (route,)),)),))


def to(shadow: Shadow, name: str = "shadow", **share: int) -> Mirror:
    return Mirror(Backend(f"default/{name}:80", (shadow.endpoint,)), **share)


async def serve(here: Lab, *mirrors: Mirror, **more: Any) -> None:
    assert await here.plane.apply(plane(await here.backend("one"), *mirrors, **more)) == []


async def test_a_copy_has_method_path_headers_and_body_of_the_request_as_it_goes_on() -> None:
    """HTTPRouteRequestMirror"""
    async with lab() as here, shadow() as copies:
        edits = HeaderEdit(set=(("X-Set", "by the route"),))
        way = Rewrite(path=PathEdit("prefix", "/new"))
        await serve(here, to(copies), request_headers=edits, rewrite=way)
        answer = await ask("web.io", "/a?b=c", method="PATCH", headers={"X-Own": "1"}, body=b"hello")
        assert answer.status == 200 and answer.got["backend"] == "one"
        await copies.holds(1)
        [got] = copies.got
        assert (got["method"], got["path"], got["body"]) == ("PATCH", answer.got["path"], b"hello")
        assert got["headers"]["host"] == "web.io"
        assert (got["headers"]["x-own"], got["headers"]["x-set"]) == ("1", "by the route")
        assert not [name for name in got["headers"] if name.startswith("x-sampan-")]


async def test_nobody_waits_for_the_answer_of_a_copy_nor_minds_that_there_is_none() -> None:
    async with lab() as here, shadow() as copies:
        nowhere = Mirror(Backend("default/nobody:80", (Endpoint("127.0.0.1", 9),)))
        copies.answers.clear()
        await serve(here, to(copies), nowhere)
        for _ in range(20):
            assert (await ask("web.io", "/")).status == 200
        await copies.holds(20)


async def test_several_mirrors_get_their_shares() -> None:
    """HTTPRouteRequestMultipleMirrors, HTTPRouteRequestPercentageMirror"""
    count = 100
    async with lab() as here, shadow() as all_of_them, shadow() as some, shadow() as none:
        await serve(here, to(all_of_them), to(some, "some", percent=1, hundred=4), to(none, "none", percent=0))
        for _ in range(count):
            assert (await ask("web.io", "/")).status == 200
        await all_of_them.holds(count)
        assert len(all_of_them.got) == count and not none.got
        # Of 100 with a chance of a quarter: outside of this once in a million runs.
        assert 4 < len(some.got) < 48


async def test_a_body_that_is_not_known_whole_is_not_copied_and_goes_its_way() -> None:
    """A copy that ends early would be another request."""
    async with lab() as here, shadow() as copies:
        await serve(here, to(copies))
        large = await ask("web.io", "/large", method="POST", body=bytes(100_000))
        assert large.status == 200 and large.got["size"] == 100_000
        async with connected() as connection:
            head = b"POST /chunked HTTP/1.1\r\nHost: web.io\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.writer.write(head + b"5\r\nhello\r\n0\r\n\r\n")
            chunked = await connection._answer("POST")
        assert chunked.status == 200 and chunked.got["size"] == 5
        assert (await ask("web.io", "/last")).status == 200
        await copies.holds(1)
        assert [got["path"] for got in copies.got] == ["/last"]


async def test_the_mirrors_endpoints_change_without_another_program() -> None:
    async with lab() as here, shadow() as before, shadow() as after:
        await serve(here, to(before))
        pid = here.program.pid
        assert await here.plane.move({"default/shadow:80": (after.endpoint,)})
        await ask("web.io", "/")
        await after.holds(1)
        assert not before.got and here.program.pid == pid


async def test_a_request_cannot_choose_where_its_copy_goes() -> None:
    async with lab() as here, shadow() as copies:
        await serve(here, to(copies))
        headers = {"X-Sampan-Mirror": "metrics", "X-Sampan-Method": "DELETE"}
        assert (await ask("web.io", "/", headers=headers)).status == 200
        await copies.holds(1)
        assert copies.got[0]["method"] == "GET"
