"""What only a real socket shows: limits, streaming, upgrades, broken requests."""

from __future__ import annotations

import asyncio
import gzip
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from sampan.server.http import HttpServer, limited_warnings
from sampan.server.request import Request, Response


async def echo(request: Request) -> Response:
    """Answers with what it was asked; some paths do more."""
    if request.raw_path == "/big":
        return Response(body=b"x" * 200_000)
    if request.raw_path == "/stream":
        return Response(body=slowly())
    if request.raw_path == "/upgrade":
        return await upgraded(request)
    if request.raw_path == "/warn":
        request.warn('say "hi"')
        request.audit_id = "an-id"
    try:
        body = (await request.load_body()).decode()
    except Exception as error:
        return Response(getattr(error, "code", 500), str(error).encode())
    answer = {"path": request.raw_path, "query": dict(request.query), "body": body, "headers": dict(request.headers)}
    answer["certificate"] = request.peer_certificate is not None
    return Response(body=orjson.dumps(answer))


async def slowly() -> AsyncIterator[bytes]:
    for number in range(3):
        yield b"%d\n" % number
        await asyncio.sleep(0)


async def upgraded(request: Request) -> Response:
    assert request.hijack is not None
    connection = await request.hijack(101, {"Upgrade": "SPDY/3.1", "Connection": "Upgrade"})
    while data := await connection.read():
        await connection.write(data.upper())
        if data.endswith(b"bye"):
            break
    connection.close()
    return Response(hijacked=True)


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    server = HttpServer(echo)
    yield await server.start("127.0.0.1", 0)
    await server.close(1.0)


@pytest.fixture
async def raw(address: tuple[str, int]) -> AsyncIterator[Any]:
    reader, writer = await asyncio.open_connection(*address)

    async def ask(text: bytes) -> bytes:
        writer.write(text)
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 1"):
            head += await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
        return head + await reader.readexactly(int(length[1]) if length else 0)

    yield ask
    writer.close()
    await writer.wait_closed()


@pytest.fixture
async def get(address: tuple[str, int]) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession(f"http://{address[0]}:{address[1]}", auto_decompress=False) as session:
        yield session


async def test_the_path_is_not_normalised(raw: Any) -> None:
    answer = await raw(b"GET //a/../%2e%2e/b%2fc?q=a%20b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'"path":"//a/../%2e%2e/b%2fc","query":{"q":"a b"}' in answer


async def test_absolute_form(raw: Any) -> None:
    assert b'"path":"/a/b"' in await raw(b"GET http://x/a/b HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_two_authorization_headers_are_400(raw: Any) -> None:
    answer = await raw(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_broken_requests_are_400(raw: Any, request_text: bytes) -> None:
    assert (await raw(request_text)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/3.7\r\nHost: x\r\n\r\n", b"505 HTTP Version Not Supported: unsupported protocol version"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"505 HTTP Version Not Supported: unsupported protocol version"),
        (b"GET /\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request: missing required Host header"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"GET /" + b"a" * 1_100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300 + b"\r\n", b"431 Request Header Fields Too Large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400 Bad Request"),
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", b"405 Method Not Allowed"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na", b"417 Expectation Failed"),
    ],
)
async def test_what_is_no_request_is_told_so_in_plain_text(raw: Any, request_text: bytes, status: bytes) -> None:
    head, _, body = (await raw(request_text)).partition(b"\r\n\r\n")
    assert head.splitlines()[0].split(b" ", 1)[1] == status
    if status[:3] not in (b"405", b"417"):
        assert body.startswith(status)
    assert b"aaaa" not in body


async def test_a_long_url_is_served(raw: Any) -> None:
    assert (await raw(b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_waits_for_leave_gets_it(raw: Any) -> None:
    answer = await raw(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert b'"body":"ab"' in answer


async def test_a_body_beyond_three_mebibytes_is_413(raw: Any, get: Any) -> None:
    answer = await raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3145729\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"limit is 3145728" in answer
    async with get.post("/", data=io.BytesIO(b"x" * 3145728)) as allowed:
        assert allowed.status == 200


async def test_a_chunked_body_is_read(get: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with get.post("/", data=chunks()) as answer:
        assert orjson.loads(await answer.read())["body"] == "ab"


async def test_large_answers_are_compressed_when_asked(get: Any) -> None:
    async with get.get("/big", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await answer.read()) == b"x" * 200_000
    async with get.get("/big", headers={"Accept-Encoding": "identity"}) as answer:
        assert len(await answer.read()) == 200_000


async def test_streams_are_chunked_and_complete(get: Any) -> None:
    async with get.get("/stream") as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert await answer.read() == b"0\n1\n2\n"


async def test_answers_have_the_usual_headers_and_warnings(get: Any) -> None:
    async with get.get("/warn") as answer:
        assert answer.headers["Cache-Control"] == "no-cache, private"
        assert answer.headers["Audit-Id"] == "an-id"
        assert answer.headers.getall("Warning") == ['299 - "say \\"hi\\""']


def test_warnings_are_bounded_as_upstream() -> None:
    assert limited_warnings(["a", "b"]) == ["a", "b"]
    assert [len(text) for text in limited_warnings(["x" * 3000, "y" * 3000])] == [256, 256]


async def test_an_upgraded_connection_carries_raw_bytes_both_ways(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"POST /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    for text in (b"hello \x00\xff", b"x" * 500_000, b"bye"):
        writer.write(text)
        assert await reader.readexactly(len(text)) == text.upper()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_bytes_sent_right_behind_a_websocket_upgrade_are_not_lost(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly bye")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.read() == b"EARLY BYE"
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_away_cancels_its_handler() -> None:
    cancelled = asyncio.Event()
    entered = asyncio.Event()

    async def waits(request: Request) -> Response:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    server = HttpServer(waits)
    _, writer = await asyncio.open_connection(*await server.start("127.0.0.1", 0))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await entered.wait()
    writer.close()
    async with asyncio.timeout(15):
        await cancelled.wait()
    await server.close(1.0)
