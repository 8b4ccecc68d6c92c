"""The HTTP transport against a real server on loopback."""

import asyncio

import orjson
import pytest
from aiohttp import web

from sampan.api.errors import Conflict, Expired, NotFound, ServiceUnavailable
from sampan.api.resources import PODS
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.informer import Informer
from sampan.client.kubeconfig import Connection


@pytest.fixture
async def serve():
    """Starts a server with a handler; gives its address."""
    runners = []

    async def start(handler):
        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        port = site._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def connect():
    opened = []

    def make(server, **options):
        transport = HttpTransport(Connection(server, **options))
        opened.append(transport)
        return transport

    yield make
    for transport in opened:
        await transport.close()


async def test_request_carries_body_type_query_and_escaped_path(serve, connect):
    seen = {}

    async def handler(request):
        seen.update(method=request.method, path=request.raw_path, type=request.headers.get("Content-Type"))
        seen["body"] = orjson.loads(await request.read())
        return web.json_response({"kind": "Pod"})

    client = Client(connect(await serve(handler)))
    await client.patch(PODS, "a b", {"x": 1}, "default", subresource="status")
    assert seen == {
        "method": "PATCH",
        "path": "/api/v1/namespaces/default/pods/a%20b/status",
        "type": "application/merge-patch+json",
        "body": {"x": 1},
    }


async def test_selectors_survive_as_query(serve, connect):
    async def handler(request):
        return web.json_response({"items": [], "query": dict(request.query)})

    client = Client(connect(await serve(handler)))
    answer = await client.list(PODS, label_selector="a in (b,c),d!=e+f", field_selector="spec.nodeName=n")
    assert answer["query"] == {"labelSelector": "a in (b,c),d!=e+f", "fieldSelector": "spec.nodeName=n"}


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [(404, "NotFound", NotFound), (409, "Conflict", Conflict), (410, "Expired", Expired)],
)
async def test_status_becomes_its_error(serve, connect, code, reason, expected):
    async def handler(request):
        status = {"kind": "Status", "reason": reason, "message": "why", "code": code}
        return web.json_response(status, status=code)

    with pytest.raises(expected, match="why"):
        await Client(connect(await serve(handler))).get(PODS, "a", "default")


async def test_dead_server_is_service_unavailable(serve, connect):
    with pytest.raises(ServiceUnavailable):
        await connect("http://127.0.0.1:1").call(Call("GET", "/version"))


async def test_text_answers_are_text(serve, connect):
    async def handler(request):
        return web.Response(text="ok")

    assert await connect(await serve(handler)).call(Call("GET", "/healthz")) == "ok"


async def test_token_file_is_read_again_when_it_changes(serve, connect, tmp_path):
    async def handler(request):
        return web.json_response({"auth": request.headers["Authorization"]})

    file = tmp_path / "token"
    file.write_text("one\n")
    transport = connect(await serve(handler), token_file=file)
    assert await transport.call(Call("GET", "/")) == {"auth": "Bearer one"}
    new = tmp_path / "new"
    new.write_text("two")
    new.replace(file)
    assert await transport.call(Call("GET", "/")) == {"auth": "Bearer two"}


async def test_informer_follows_a_chunked_watch_with_events_cut_anywhere(serve, connect):
    release = asyncio.Event()
    data = "x" * 300_000

    async def handler(request):
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for number in (2, 3):
            meta = {"name": f"p{number}", "namespace": "d", "resourceVersion": str(number), "annotations": {"x": data}}
            line = orjson.dumps({"type": "ADDED", "object": {"metadata": meta}}) + b"\n"
            for start in range(0, len(line), 99_999):
                await response.write(line[start : start + 99_999])
        await release.wait()
        return response

    informer = Informer(Client(connect(await serve(handler))), PODS)
    task = asyncio.ensure_future(informer.run())
    await informer.wait_for(3)
    assert {obj["metadata"]["name"] for obj in informer.list()} == {"p2", "p3"}
    release.set()
    task.cancel()
    await asyncio.wait([task])


async def test_stream_gives_chunks_as_they_come(serve, connect):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"line\n")
        return response

    transport = connect(await serve(handler))
    async with transport.stream(Call("GET", "/log", {"follow": "true"})) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"line\n"


async def test_what_a_caller_raises_while_it_reads_is_not_the_networks_fault(serve, connect):
    async def handler(request):
        return web.Response(body=b"one")

    transport = connect(await serve(handler))
    with pytest.raises(FileNotFoundError):
        async with transport.stream(Call("GET", "/logs")) as chunks:
            async for _ in chunks:
                raise FileNotFoundError


async def test_an_answer_that_breaks_off_is_service_unavailable(serve, connect):
    async def handler(request):
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"one")
        request.transport.close()
        return answer

    transport = connect(await serve(handler))
    with pytest.raises(ServiceUnavailable):
        async with transport.stream(Call("GET", "/logs")) as chunks:
            assert [chunk async for chunk in chunks]
