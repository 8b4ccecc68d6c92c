"""Clients in great number: idle connections, unknown paths, unfinished heads, pipelined requests."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys

import pytest

from sampan.server.http import HttpServer, Limits
from sampan.server.request import Request, Response

from .conftest import Victim, closed, connections, until

pytestmark = pytest.mark.timeout(240)  # a whole server, and thousands of clients


async def test_ten_thousand_idle_connections(victim: Victim, descriptors: int) -> None:
    """As many as this process may open, both ends being its own: 9,800 with a limit of 20,000."""
    number = min(10_000, (descriptors - 400) // 2)
    idle = []
    for at in range(number):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(victim.address)
        idle.append(client)
        if at % 200 == 199:
            await until(lambda: victim.connections() >= len(idle) - 50, 20)
    await until(lambda: victim.connections() >= min(number, victim.transport.limits.connections), 20)
    await victim.assert_answers_others()
    for client in idle:
        client.close()
    await until(lambda: victim.connections() == 0, 20)


async def test_beyond_the_limit_the_oldest_idle_connection_makes_room() -> None:
    async def answer(request: Request) -> Response:
        return Response(body=b"here")

    server = HttpServer(answer, limits=Limits(connections=3))
    address = await server.start("127.0.0.1", 0)
    kept = [await asyncio.open_connection(*address) for _ in range(3)]
    await until(lambda: len(connections(server)) == 3)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ConnectionResetError):
        assert await kept[0][0].read() == b""
        raise ConnectionResetError
    kept[1][1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await kept[1][0].readuntil(b"here")).startswith(b"HTTP/1.1 200 ")
    for _, each in [*kept, (reader, writer)]:
        await closed(each)
    await server.close(1.0)


async def test_beyond_the_limit_who_never_asked_makes_room_then_who_asked_longest_ago() -> None:
    async def answer(request: Request) -> Response:
        return Response(body=b"here")

    server = HttpServer(answer, limits=Limits(connections=3, tick_seconds=3600))
    address = await server.start("127.0.0.1", 0)
    clients: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect() -> None:
        clients.append(await asyncio.open_connection(*address))

    async def ask(at: int) -> None:
        server.now += 1
        reader, writer = clients[at]
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200 ")

    async def is_cut(at: int) -> None:
        with pytest.raises(ConnectionResetError):
            assert await clients[at][0].read() == b""
            raise ConnectionResetError

    for at in range(2):
        await connect()
        await ask(at)
    await connect()  # asks nothing
    await until(lambda: len(server.connections) == 3)
    await ask(0)
    await connect()
    await is_cut(2)
    await ask(3)
    await connect()
    await is_cut(1)
    for at in (4, 3, 0):
        await ask(at)
    for _, writer in clients:
        await closed(writer)
    await server.close(1.0)


async def test_unknown_paths_by_the_thousand_leave_nothing_behind(victim: Victim) -> None:
    """A stranger is told 403 for each, and no table of the server grows with what it asked."""

    async def ask(first: int) -> None:
        reader, writer = await victim.connect()
        for number in range(first, first + 1000):
            writer.write(b"GET /api/v1/nodes/x/%d/y%d?z=%d HTTP/1.1\r\nHost: x\r\n\r\n" % (number, number, number))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 403 ")
            await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
        await closed(writer)

    await ask(0)
    gc.collect()
    before = len(gc.get_objects())
    await ask(1000)
    await ask(2000)
    gc.collect()
    assert len(gc.get_objects()) - before < 1000


async def test_unfinished_heads_together_are_bounded() -> None:
    async def answer(request: Request) -> Response:
        return Response(body=b"here")

    limits = Limits(all_large_heads_bytes=500_000)
    server = HttpServer(answer, limits=limits)
    address = await server.start("127.0.0.1", 0)
    writers = []
    for _ in range(12):
        reader, writer = await asyncio.open_connection(*address)
        writers.append((reader, writer))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 60_000)
    answers = [asyncio.ensure_future(reader.read(12)) for reader, _ in writers]
    # Those that are kept waiting have their place until they end; the rest are refused.
    await until(lambda: sum(answer.done() for answer in answers) >= 3)
    assert {answer.result() for answer in answers if answer.done()} == {b"HTTP/1.1 431"}
    assert server.large_head_bytes <= limits.all_large_heads_bytes
    for answer in answers:
        answer.cancel()
    for _, writer in writers:
        await closed(writer)
    await until(lambda: server.large_head_bytes == 0)
    await server.close(1.0)


async def test_pipelined_requests_are_answered_in_order_and_others_get_their_turn(either: Victim) -> None:
    number = 3000
    reader, writer = await either.connect()
    text = b"".join(b"GET /healthz HTTP/1.1\r\nHost: x\r\nAudit-Id: n-%d\r\n\r\n" % at for at in range(number))

    async def send() -> None:
        for at in range(0, len(text), 16_384):
            writer.write(text[at : at + 16_384])
            await writer.drain()

    sending = asyncio.create_task(send())
    for at in range(number):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Audit-Id: n-%d\r\n" % at in head
        await reader.readexactly(2)
        if at == number // 2:
            await either.assert_answers_others()
    await sending
    await closed(writer)


async def test_who_pipelines_and_never_reads_is_paused(victim: Victim) -> None:
    """What it sends stays with it: the server takes in no more than its bound."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.connect(victim.address)
    client.setblocking(False)
    text = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    loop = asyncio.get_running_loop()
    sent = 0
    try:
        while sent < 200_000_000:
            async with asyncio.timeout(0.2):
                await loop.sock_sendall(client, text)
            sent += len(text)
    except TimeoutError:
        pass
    assert sent < 30_000_000
    held = [found for found in connections(victim.transport) if sys.getsizeof(found._input or b"") > 400_000]
    assert not held
    client.close()
