"""A transport with several servers: reads and what was not sent go to the next, a write is never sent twice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop
from aiohttp import web

from sampan.api.errors import NotFound, ServiceUnavailable
from sampan.api.resources import CONFIG_MAPS, PODS
from sampan.api.transport import Call
from sampan.client import http
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.client.servers import Servers

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class House:
    """Starts servers and transports, and ends them."""

    def __init__(self) -> None:
        self.runners: dict[str, web.ServerRunner] = {}
        self.transports: list[HttpTransport] = []

    async def serve(self, handler: Handler) -> str:
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.runners[url] = runner
        return url

    async def named(self, name: str) -> str:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            return web.json_response({"metadata": {"name": name}})

        return await self.serve(handler)

    async def stop(self, url: str) -> None:
        await self.runners.pop(url).cleanup()

    async def end(self) -> None:
        for transport in self.transports:
            await transport.close()
        for url in list(self.runners):
            await self.stop(url)

    def connect(self, *urls: str) -> Client:
        transport = HttpTransport(Connection(urls[0]), servers=Servers(urls))
        self.transports.append(transport)
        return Client(transport)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.end()


def closed() -> str:
    """A port that refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


async def name_of(client: Client) -> str:
    return str((await client.get(PODS, "p", "ns"))["metadata"]["name"])


async def breaking(request: web.BaseRequest) -> web.StreamResponse:
    """Takes the request and goes away."""
    await request.read()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_reads_and_writes_go_to_the_next_when_one_refuses_connections(house: House) -> None:
    client = house.connect(closed(), await house.named("b"))
    assert await name_of(client) == "b"
    made = await client.create(CONFIG_MAPS, {"metadata": {"name": "x"}}, "ns")
    assert made["metadata"]["name"] == "b"


async def test_of_a_server_that_breaks_off_a_read_is_asked_elsewhere_and_a_write_is_not(house: House) -> None:
    seen: list[str] = []

    async def other(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.method)
        return web.json_response({"metadata": {"name": "b"}})

    first, second = await house.serve(breaking), await house.serve(other)
    assert await name_of(house.connect(first, second)) == "b"
    with pytest.raises(ServiceUnavailable):
        await house.connect(first, second).create(CONFIG_MAPS, {"metadata": {"name": "x"}}, "ns")
    assert seen == ["GET"]


async def test_the_next_write_after_one_that_broke_goes_to_another(house: House) -> None:
    client = house.connect(await house.serve(breaking), await house.named("b"))
    with pytest.raises(ServiceUnavailable):
        await client.create(CONFIG_MAPS, {"metadata": {"name": "x"}}, "ns")
    assert (await client.create(CONFIG_MAPS, {"metadata": {"name": "x"}}, "ns"))["metadata"]["name"] == "b"


async def test_questions_that_change_nothing_are_asked_again(house: House) -> None:
    client = house.connect(await house.serve(breaking), await house.named("b"))
    review = await client.raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {})
    assert review["metadata"]["name"] == "b"


async def test_a_read_that_is_cut_off_in_its_answer_is_asked_elsewhere(house: House) -> None:
    async def half(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"metadata"')
        assert request.transport is not None
        request.transport.abort()
        return response

    assert await name_of(house.connect(await house.serve(half), await house.named("b"))) == "b"


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_watch_or_a_log_whose_server_goes_ends_with_a_fault_of_the_network_on_either_event_loop(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def run() -> None:
        house, go = House(), asyncio.Event()

        async def going(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"type": "ADDED", "object": {}}\n')
            await go.wait()
            assert request.transport is not None
            request.transport.abort()
            return response

        client = house.connect(await house.serve(going), closed())
        [transport] = house.transports
        try:
            for opened in (client.watch(PODS), transport.stream(Call("GET", "/log"))):
                go.clear()
                with pytest.raises(ServiceUnavailable):
                    async with opened as told:
                        await anext(told)  # type: ignore[call-overload]  # of either kind
                        [made] = [each for each in transport._sockets if each.fileno() != -1]
                        go.set()
                        while made.fileno() != -1:  # noqa: ASYNC110  # the loop has let go of it
                            await asyncio.sleep(0)
                        await anext(told)  # type: ignore[call-overload]
                del made
        finally:
            await house.end()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


async def test_of_a_server_that_hangs_a_read_is_asked_elsewhere(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.client.http.ANSWER_ELSEWHERE_SECONDS", 0.1)
    let_go = asyncio.Event()

    async def hanging(request: web.BaseRequest) -> web.StreamResponse:
        await let_go.wait()
        return web.json_response({"metadata": {"name": "a"}})

    client = house.connect(await house.serve(hanging), await house.named("b"))
    assert await name_of(client) == "b"
    let_go.set()
    alone = house.connect(await house.serve(hanging), closed())
    assert await name_of(alone) == "a", "the only one that is there has all the time"


async def test_a_server_that_says_that_it_cannot_is_left_for_another(house: House) -> None:
    async def ailing(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "code": 503, "message": "the store is away"}, status=503)

    first = await house.serve(ailing)
    assert await name_of(house.connect(first, await house.named("b"))) == "b"
    with pytest.raises(ServiceUnavailable, match="the store is away"):
        await name_of(house.connect(first, await house.serve(ailing)))


async def test_what_a_server_refuses_is_asked_of_no_other(house: House) -> None:
    async def without(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)

    with pytest.raises(NotFound):
        await name_of(house.connect(await house.serve(without), await house.named("b")))


async def test_when_no_server_is_there_the_fault_is_the_last_ones(house: House) -> None:
    last = closed()
    with pytest.raises(ServiceUnavailable, match=f"dial tcp {last.removeprefix('http://')}: .*refused"):
        await name_of(house.connect(closed(), last))


async def test_a_watch_that_is_cut_off_goes_on_at_another_server(house: House) -> None:
    cut = asyncio.Event()

    def watched(name: str) -> Handler:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"%s"}}}\n' % name.encode())
            await cut.wait()
            assert request.transport is not None
            request.transport.abort()
            return response

        return handler

    first, second = await house.serve(watched("a")), await house.serve(watched("b"))
    client = house.connect(first, second)
    async with client.watch(PODS) as events:
        assert (await anext(events)).object["metadata"]["name"] == "a"
        await next(iter(house.runners[first].sites)).stop()
        cut.set()
        with pytest.raises(ServiceUnavailable):
            await anext(events)
    async with client.watch(PODS) as events:
        assert (await anext(events)).object["metadata"]["name"] == "b"


async def test_dead_machines_are_noticed_by_the_kernel_where_there_is_another_server(house: House) -> None:
    one, two = house.connect(closed()).transport, house.connect(closed(), closed()).transport
    assert isinstance(one, HttpTransport) and isinstance(two, HttpTransport)
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))
    with one._socket(address) as alone, two._socket(address) as elsewhere:
        assert alone.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert elsewhere.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert 0 < elsewhere.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 3000


def test_a_kubeconfig_may_name_other_servers_of_the_cluster() -> None:
    made = KubeConfig.build("c", "u", Connection("https://a:6443", token="t", others=("https://b:6443",)))
    found = KubeConfig.merge([made.content]).connection()
    assert (found.server, found.others) == ("https://a:6443", ("https://b:6443",))
    made.content["clusters"][0]["cluster"]["extensions"][0]["extension"] = {"servers": "https://b:6443"}
    with pytest.raises(KubeConfigError, match="servers is not a list"):
        made.connection()


async def test_a_kubeconfigs_other_servers_are_asked_too(house: House) -> None:
    transport = HttpTransport(Connection(closed(), others=(await house.named("b"),)))
    house.transports.append(transport)
    assert (await transport.call(Call("GET", "/api")))["metadata"]["name"] == "b"


async def test_a_watch_over_a_connection_with_the_certificate_of_before_ends_and_its_reader_hears_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ssl_context", lambda connection: None)
    monkeypatch.setattr(http, "CALL_SECONDS", 0.01)
    monkeypatch.setattr(http, "PARTING_SECONDS", 0.01)
    served, over = 0, asyncio.Event()

    async def watch(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal served
        served += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}\n')
        await over.wait()
        return response

    client = house.connect(await house.serve(watch))
    for _ in range(2):
        async with asyncio.timeout(30):
            with pytest.raises(ServiceUnavailable):
                async with client.watch(PODS) as events:
                    async for event in events:
                        assert event.type == "BOOKMARK"
                        house.transports[0].use_certificate(b"", b"")
    assert served == 2
    over.set()
