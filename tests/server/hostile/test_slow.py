"""Clients that take their time: with their heads, their bodies, and with reading what they asked for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import orjson
import pytest

from sampan.server.config import ServerConfig
from sampan.server.http import HttpServer, Limits
from sampan.server.request import Request, Response
from sampan.server.stream import Batch, Stream

from .conftest import Victim, closed, connections, running, until

pytestmark = pytest.mark.timeout(240)  # a whole server, and hundreds of clients

HURRIED = Limits(
    head_seconds=0.4, body_idle_seconds=0.3, idle_seconds=0.3, linger_seconds=0.2, unread_seconds=0.4, tick_seconds=0.02
)


class Handler:
    """Reads bodies, and gives out streams."""

    server: HttpServer

    def __init__(self) -> None:
        self.streams: list[Stream] = []

    async def __call__(self, request: Request) -> Response:
        if request.raw_path == "/watch":
            return Response(body=self)
        if request.raw_path == "/big":
            return Response(body=b"x" * 30_000_000)
        try:
            return Response(body=await request.load_body())
        except Exception as error:
            return Response(getattr(error, "code", 500), b"too slow")

    def start(self, stream: Stream) -> None:
        self.streams.append(stream)

    def cancel(self) -> None:
        raise AssertionError("the head could be sent")


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def hurried(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    server = handler.server = HttpServer(handler, limits=HURRIED)
    yield await server.start("127.0.0.1", 0)
    await server.close(1.0)
    assert not connections(server)


def not_reading(address: tuple[str, int], text: bytes) -> socket.socket:
    """A client that asks and never reads; its side takes in as little as can be."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(address)
    client.sendall(text)
    return client


async def test_a_head_that_does_not_end_is_cut_off(hurried: tuple[str, int]) -> None:
    """One byte now and then does not help: the time is that of the whole head."""
    reader, writer = await asyncio.open_connection(*hurried)
    writer.write(b"GET / HTTP/1.1\r\n")
    loop = asyncio.get_running_loop()
    end = loop.time() + 15
    while not writer.transport.is_closing():
        assert loop.time() < end
        writer.write(b"A: b\r\n")
        await asyncio.sleep(0.01)
    try:
        assert await reader.read() == b""
    except ConnectionError:
        pass  # the last line met a closed door
    await closed(writer)


async def test_a_connection_that_says_nothing_is_cut_off(hurried: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*hurried)
    assert await reader.read() == b""
    await closed(writer)


async def test_a_body_that_stands_still_is_408(hurried: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*hurried)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    await closed(writer)


async def test_a_stream_that_nobody_reads_is_cut_off(hurried: tuple[str, int], handler: Handler) -> None:
    client = not_reading(hurried, b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: bool(handler.streams))
    stream = handler.streams[0]
    batch = Batch(b"x" * 100_000)
    lost = asyncio.Event()
    stream.on_close(lost.set)
    # Beyond what the sockets hold (4 MiB where the kernel lets them grow), and what is left below the bound in bytes.
    for _ in range(44):
        stream.push(batch)
    async with asyncio.timeout(15):
        await lost.wait()
    assert stream.closed
    client.close()


async def test_what_a_stream_leaves_unread_is_bounded(hurried: tuple[str, int], handler: Handler) -> None:
    client = not_reading(hurried, b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: bool(handler.streams))
    stream = handler.streams[0]
    batch = Batch(b"x" * 500_000)
    pushed = 0
    while not stream.closed:
        stream.push(batch)
        pushed += 1
        await asyncio.sleep(0)
    # The sockets take some themselves.
    assert pushed * 500_000 < HURRIED.unread_bytes + 8_000_000
    client.close()


async def test_a_large_answer_that_nobody_reads_is_cut_off(hurried: tuple[str, int], handler: Handler) -> None:
    client = not_reading(hurried, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: bool(connections(handler.server)))
    await until(lambda: not connections(handler.server))
    client.close()


async def test_streams_together_are_bounded_and_the_greediest_goes_first(handler: Handler) -> None:
    limits = Limits(all_unread_bytes=3_000_000, tick_seconds=0.02)
    server = HttpServer(handler, limits=limits)
    address = await server.start("127.0.0.1", 0)
    clients = [not_reading(address, b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(2)]
    await until(lambda: len(handler.streams) == 2)
    small, great = handler.streams
    fill = Batch(b"x" * 100_000)
    for _ in range(40):
        for stream in handler.streams:
            stream.push(fill)
        await asyncio.sleep(0)
    for _ in range(20):
        great.push(fill)
    await until(lambda: great.closed)
    assert not small.closed
    for client in clients:
        client.close()
    await server.close(1.0)


async def test_a_watcher_that_never_reads_does_not_harm_two_hundred_that_do() -> None:
    config = ServerConfig(
        bind_address="127.0.0.1", port=0, openapi=False, authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=("ServiceAccount",), shutdown_timeout_seconds=1.0,
    )  # fmt: skip
    async with running(config, None) as victim:
        path = b"/api/v1/namespaces/default/configmaps"
        watch = b"GET " + path + b"?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        good = [await victim.connect() for _ in range(200)]
        for _, writer in good:
            writer.write(watch)
        for reader, _ in good:
            await reader.readuntil(b"\r\n\r\n")
        bad = not_reading(victim.address, watch)
        await until(lambda: victim.connections() == 201)
        for number in range(20):
            body = {"metadata": {"name": f"c-{number}"}, "data": {"a": "x" * 30_000}}
            await _write(victim, b"POST", path, body)
            await victim.assert_answers_others()
        for reader, _ in good:
            await reader.readuntil(b'"name":"c-19"')
        for _, writer in good:
            await closed(writer)
        bad.close()


async def _write(victim: Victim, method: bytes, path: bytes, obj: dict[str, object]) -> None:
    body = orjson.dumps(obj)
    answer = await victim.ask(
        b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (method, path, len(body), body)
    )
    assert answer.startswith(b"HTTP/1.1 201 "), answer
