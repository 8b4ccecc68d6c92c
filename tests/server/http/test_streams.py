"""Answers that are pushed, and connections that are handed over."""

from __future__ import annotations

import asyncio

import pytest

from sampan.server.request import Request, Response
from sampan.server.stream import Batch, Stream

from .conftest import Client, Serve


class Pushes:
    """A handler all of whose answers are pushed by the test."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Stream] = asyncio.Queue()
        self.cancelled = 0
        self.closed = 0

    async def __call__(self, request: Request) -> Response:
        return Response(body=b"plain") if request.raw_path == "/plain" else Response(body=self)

    def start(self, stream: Stream) -> None:
        stream.on_close(self.on_close)
        self.started.put_nowait(stream)

    def cancel(self) -> None:
        self.cancelled += 1

    def on_close(self) -> None:
        self.closed += 1


@pytest.fixture
def pushes() -> Pushes:
    return Pushes()


async def opened(client: Client, pushes: Pushes, version: str = "1.1") -> Stream:
    client.send(f"GET /watch HTTP/{version}")
    await client.head()
    return await pushes.started.get()


async def test_pushes_arrive_as_chunks_each_of_its_own(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    stream = await opened(client, pushes)
    for text in (b"a", b"", b"bc"):
        stream.push(Batch(text))
    chunks = client.chunks()
    assert [await anext(chunks), await anext(chunks)] == [b"a", b"bc"]


async def test_a_batch_is_framed_once_for_all(serve: Serve, pushes: Pushes) -> None:
    served = await serve(pushes)
    clients = [await served.connect() for _ in range(3)]
    streams = [await opened(client, pushes) for client in clients]
    batch = Batch(b"event")
    for stream in streams:
        stream.push(batch)
    assert batch.chunk is batch.chunk
    for client in clients:
        assert await anext(client.chunks()) == b"event"


async def test_a_finished_stream_leaves_the_connection_to_the_next_request(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    client.send("GET /watch HTTP/1.1")
    client.send("GET /plain HTTP/1.1")
    await client.head()
    stream = await pushes.started.get()
    stream.push(Batch(b"last"))
    stream.finish()
    assert stream.closed
    assert [chunk async for chunk in client.chunks()] == [b"last"]
    assert (await client.answer()).body == b"plain"
    assert pushes.closed == 1


async def test_an_aborted_stream_stays_incomplete(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    stream = await opened(client, pushes)
    stream.abort()
    assert (stream.closed, pushes.closed) == (True, 1)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await anext(client.chunks())


async def test_who_goes_away_is_told_of_once(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    stream = await opened(client, pushes)
    client.writer.close()
    lost = asyncio.Event()
    stream.on_close(lost.set)
    async with asyncio.timeout(15):
        await lost.wait()
    stream.push(Batch(b"nobody"))
    await stream.write(b"nobody")
    stream.finish()
    stream.abort()
    late = asyncio.Event()
    stream.on_close(late.set)
    assert (pushes.closed, late.is_set()) == (1, True)


async def test_old_clients_get_the_bytes_and_then_the_end(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    stream = await opened(client, pushes, "1.0")
    stream.push(Batch(b"one\n"))
    await stream.write(b"two\n")
    stream.finish()
    assert await client.reader.read() == b"one\ntwo\n"


async def test_a_stream_is_not_begun_for_head(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    await client.ask("HEAD /watch HTTP/1.1")
    assert (pushes.cancelled, pushes.started.empty()) == (1, True)
    assert (await client.ask("GET /plain HTTP/1.1")).body == b"plain"


async def test_long_writes_wait_for_the_reader(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes)).connect()
    stream = await opened(client, pushes)
    text = b"x" * 20_000_000
    writing = asyncio.create_task(stream.write(text))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not writing.done()
    size = 0
    async for chunk in client.chunks():
        size += len(chunk)
        if size == len(text):
            break
    await writing
    stream.push(Batch(b"behind"))
    assert await anext(client.chunks()) == b"behind"


async def test_pushes_beyond_what_a_reader_takes_wait_shared_and_arrive_in_order(serve: Serve, pushes: Pushes) -> None:
    client = await (await serve(pushes, unread_bytes=50_000_000)).connect()
    stream = await opened(client, pushes)
    for number in range(3000):
        stream.push(Batch(b"%06d" % number + b"x" * 10_000))
        if number % 100 == 0:
            await asyncio.sleep(0)
    number = 0
    async for chunk in client.chunks():
        assert chunk[:6] == b"%06d" % number
        number += 1
        if number == 3000:
            break


async def test_many_streams_are_written_to_in_turns(serve: Serve, pushes: Pushes) -> None:
    served = await serve(pushes, flushes_at_once=3)
    clients = [await served.connect() for _ in range(10)]
    for client in clients:
        stream = await opened(client, pushes)
        stream.push(Batch(b"event"))
    for client in clients:
        assert await anext(client.chunks()) == b"event"


async def test_a_connection_that_is_just_ending_does_not_keep_others_from_what_is_pushed(
    serve: Serve, pushes: Pushes
) -> None:
    served = await serve(pushes)
    clients = [await served.connect() for _ in range(3)]
    streams = [await opened(client, pushes) for client in clients]
    for number in range(3):
        for stream in streams:
            stream.push(Batch(b"%d" % number))
        if number == 0:
            next(iter(served.server.connections)).close()
        await asyncio.sleep(0)
    for client in clients[1:]:
        chunks = client.chunks()
        received = b""
        while len(received) < 3:
            received += await anext(chunks)
        assert received == b"012"
    assert (streams[0].closed, pushes.closed) == (True, 1)


async def test_a_half_closed_peer_is_read_to_its_end_and_still_written_to(serve: Serve) -> None:
    async def upgrade(request: Request) -> Response:
        assert request.hijack is not None
        connection = await request.hijack(101, {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"})
        received = b""
        while data := await connection.read():
            received += data
        await connection.write(b"%d bytes" % len(received))
        return Response(hijacked=True)

    client = await (await serve(upgrade)).connect()
    client.send("POST /upgrade HTTP/1.1", "Connection: Upgrade", "Upgrade: SPDY/3.1", body=b"early")
    client.writer.write(b"x" * 1_000_000)
    client.writer.write_eof()
    assert (await client.head()).status == 101
    assert await client.reader.read() == b"1000005 bytes"


async def test_a_handler_that_fails_behind_an_upgrade_writes_nothing_into_it(serve: Serve) -> None:
    async def upgrade(request: Request) -> Response:
        assert request.hijack is not None
        await request.hijack(101, {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"})
        return Response(500, b"too late")

    client = await (await serve(upgrade)).connect()
    client.send("POST /upgrade HTTP/1.1", "Connection: Upgrade", "Upgrade: SPDY/3.1")
    assert (await client.head()).status == 101
    assert await client.ended()
