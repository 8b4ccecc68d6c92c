"""One connection, request after request: order, bodies that nobody reads, endings, old clients."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.server.request import Request, Response

from .conftest import Serve

LARGE = b'{"a":"b"}' * 200_000


class Handler:
    """``/now…`` is answered at once, everything else by a task."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.plans: list[Any] = []
        self.identities: list[Any] = []
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()

    def answer_now(self, request: Request) -> Response | None:
        if not request.raw_path.startswith("/now"):
            return None
        self.asked.append(request.raw_path)
        assert request.template is not None
        assert request.connection_state is not None
        self.plans.append(request.template.plan)
        self.identities.append(request.connection_state.identity)
        request.template.plan = request.connection_state.identity = "found"
        head = b"Content-Type: text/plain\r\nServer: sampan\r\n"
        bodies = {"/now/large": LARGE, "/now/middle": LARGE[:50_000]}
        return Response(body=bodies.get(request.raw_path, b"now"), head=head)

    async def handle(self, request: Request) -> Response:
        self.asked.append(request.raw_path)
        match request.raw_path:
            case "/wait":
                self.entered.set()
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
                return Response(body=b"waited")
            case "/refuse":
                return Response(403, b"no")
            case "/empty":
                return Response(204)
            case "/stream":
                return Response(body=parts())
            case "/known":
                return Response(body=parts(), headers={"Content-Length": "6"})
            case "/wrong":
                return Response(body=parts(), headers={"Content-Length": "7"})
            case "/break":
                return Response(body=b"a", headers={"X": "a\r\nSet-Cookie: b"})
            case "/raise":
                raise ValueError("a fault of ours")
            case "/large":
                return Response(body=LARGE)
            case "/cookies":
                return Response(body=b"a", more_headers=(("Set-Cookie", "a"), ("Set-Cookie", "b")))
        return Response(body=await request.load_body())


async def parts() -> AsyncIterator[bytes]:
    for part in (b"ab", b"", b"cd", b"ef"):
        yield part


@pytest.fixture
def handler() -> Handler:
    return Handler()


async def test_answers_come_in_the_order_of_their_requests(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    for path in ("/wait", "/now", "/stream", "/now/2"):
        client.send(f"GET {path} HTTP/1.1")
    client.send("POST /echo HTTP/1.1", "Content-Length: 4", body=b"body")
    client.send("GET /now/3 HTTP/1.1")
    handler.released.set()
    bodies = [(await client.answer()).body for _ in range(6)]
    assert bodies == [b"waited", b"now", b"abcdef", b"now", b"body", b"now"]


async def test_what_was_found_for_the_same_bytes_and_the_same_connection_is_kept(
    serve: Serve, handler: Handler
) -> None:
    served = await serve(handler)
    first, second = await served.connect(), await served.connect()
    for client in (first, first, first, second):
        await client.ask("GET /now HTTP/1.1")
    # A head is kept from its second appearance on.
    assert handler.plans == [None, None, "found", "found"]
    assert handler.identities == [None, "found", "found", None]


async def test_a_write_whose_head_is_known_has_the_body_that_was_sent_however_it_is_cut(
    serve: Serve, handler: Handler
) -> None:
    client = await (await serve(handler)).connect()
    body = b'{"a": "b\r\n\r\n"}\r\n\r\n'
    sent = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    for at in (*range(0, len(sent), 3), len(sent) - len(body), len(sent) - 1):
        client.writer.write(sent[:at])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        client.writer.write(sent[at:])
        assert (await client.answer()).body == body
    client.writer.write(sent + sent[: -len(body)] + body[:5])
    client.writer.write(body[5:] + b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n" + sent)
    assert [(await client.answer()).body for _ in range(4)] == [body, body, b"now", body]


async def test_known_heads_of_chunked_bodies_and_of_those_who_wait_for_leave_begin_anew(
    serve: Serve, handler: Handler
) -> None:
    client = await (await serve(handler)).connect()
    chunked = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(3):
        client.writer.write(chunked + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        assert (await client.answer()).body == b"abc"
    for _ in range(3):
        client.writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.head()).status == 100
        client.writer.write(b"abc")
        assert (await client.answer()).body == b"abc"


async def test_head_answers_have_a_length_and_no_body(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    for path in ("/now", "/now/large", "/refuse", "/stream", "/now"):
        answer = await client.ask(f"HEAD {path} HTTP/1.1")
        if path != "/stream":
            assert int(answer.headers["content-length"]) > 0
    assert (await client.ask("GET /now HTTP/1.1")).body == b"now"


async def test_an_answer_without_a_body_is_not_framed(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    client.send("GET /empty HTTP/1.1")
    answer = await client.answer(without_body=True)
    assert answer.status == 204
    assert not {"content-length", "transfer-encoding"} & answer.headers.keys()
    assert (await client.ask("GET /now HTTP/1.1")).body == b"now"


async def test_a_small_body_that_nobody_read_does_not_cost_the_connection(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    client.send("POST /refuse HTTP/1.1", "Content-Length: 50000", body=b"x" * 20_000)
    answer = await client.answer()
    assert (answer.status, "connection" in answer.headers) == (403, False)
    client.writer.write(b"x" * 30_000)
    assert (await client.ask("GET /now HTTP/1.1")).body == b"now"


@pytest.mark.parametrize("framing", ["Content-Length: 30000000", "Transfer-Encoding: chunked"])
async def test_an_early_answer_arrives_though_the_client_is_still_sending(
    serve: Serve, handler: Handler, framing: str
) -> None:
    """A refusal must not be lost in the reset of a connection that still had input."""
    client = await (await serve(handler)).connect()
    client.send("POST /refuse HTTP/1.1", framing)
    sent = 0
    try:
        while sent < 3_000_000:
            client.writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await client.writer.drain()
            sent += 65536
    except ConnectionError:
        pass
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert await client.ended()


async def test_a_client_that_waits_for_leave_and_is_refused_is_not_waited_for(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    answer = await client.ask("POST /refuse HTTP/1.1", "Content-Length: 10", "Expect: 100-continue")
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert await client.ended()


async def test_leave_is_given_only_when_the_body_is_wanted(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    client.send("POST /echo HTTP/1.1", "Content-Length: 2", "Expect: 100-continue")
    assert (await client.head()).status == 100
    client.writer.write(b"ab")
    assert (await client.answer()).body == b"ab"
    assert (await client.ask("GET /now HTTP/1.1")).body == b"now"


async def test_a_client_that_goes_away_cancels_its_handler(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    client.send("GET /wait HTTP/1.1")
    client.writer.close()
    async with asyncio.timeout(15):
        await handler.cancelled.wait()


async def test_old_clients_are_answered_in_their_version(serve: Serve, handler: Handler) -> None:
    served = await serve(handler)
    client = await served.connect()
    answer = await client.ask("GET /refuse HTTP/1.0", "Connection: keep-alive")
    assert (answer.version, answer.headers["connection"]) == ("HTTP/1.0", "keep-alive")
    answer = await client.ask("GET /refuse HTTP/1.0")
    assert (answer.version, answer.headers["connection"]) == ("HTTP/1.0", "close")
    assert await client.ended()


async def test_old_clients_get_streams_until_the_connection_ends(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    answer = await client.ask("GET /stream HTTP/1.0", "Connection: keep-alive")
    assert (answer.body, answer.headers["connection"]) == (b"abcdef", "close")
    assert "transfer-encoding" not in answer.headers


async def test_a_stream_of_known_length_is_not_chunked_and_keeps_its_word(
    serve: Serve, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(handler)
    client = await served.connect()
    assert (await client.ask("GET /known HTTP/1.1")).body == b"abcdef"
    assert (await client.ask("GET /now HTTP/1.1")).body == b"now"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.ask("GET /wrong HTTP/1.1")
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


@pytest.mark.logs_errors("a response header holds a line break")
async def test_a_header_that_would_break_the_answer_is_an_error_of_ours(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    answer = await client.ask("GET /break HTTP/1.1")
    assert answer.status == 500
    assert "set-cookie" not in answer.headers
    assert (await client.ask("GET /now HTTP/1.1")).body == b"now"


@pytest.mark.logs_errors("GET /raise failed")
async def test_a_fault_of_the_handler_is_500_without_its_text(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    answer = await client.ask("GET /raise HTTP/1.1")
    assert answer.status == 500
    assert b"a fault of ours" not in answer.body


@pytest.mark.parametrize("path", ["/large", "/now/large"])
async def test_gzip_comes_to_those_who_name_it_as_welcome(serve: Serve, handler: Handler, path: str) -> None:
    client = await (await serve(handler)).connect()
    for accepted in ("gzip", "deflate, GZIP;q=0.5", "gzip; q=1.0", "gzip;Q=0.001"):
        answer = await client.ask(f"GET {path} HTTP/1.1", f"Accept-Encoding: {accepted}")
        assert answer.headers.get("content-encoding") == "gzip", accepted
    for refused in (
        "gzip;q=0",
        "gzip; q=0.000",
        "x-gzip",
        "gzipped, br",
        "gzip;q=yes",
        "identity",
        "br," * 100 + "gzip",
    ):
        answer = await client.ask(f"GET {path} HTTP/1.1", f"Accept-Encoding: {refused}")
        assert "content-encoding" not in answer.headers, refused
        assert answer.body == LARGE


async def test_headers_that_repeat_are_all_sent(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    client.send("GET /cookies HTTP/1.1")
    assert b"Set-Cookie: a\r\nSet-Cookie: b\r\n" in await client.reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/large", "/now/large"])
async def test_large_answers_are_complete_and_compressed_once(serve: Serve, handler: Handler, path: str) -> None:
    served = await serve(handler)
    client = await served.connect()
    assert (await client.ask(f"GET {path} HTTP/1.1")).body == LARGE
    bodies = []
    for _ in range(2):
        answer = await client.ask(f"GET {path} HTTP/1.1", "Accept-Encoding: gzip")
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
        bodies.append(answer.body)
    assert gzip.decompress(bodies[0]) == LARGE
    assert bodies[0] == bodies[1]
    kept = served.server.compressed.get(LARGE)
    assert kept == bodies[0]
    for _ in range(40):  # and forgotten when nobody asks
        served.server.compressed.tick()
    assert served.server.compressed.get(LARGE) is None


async def test_a_large_answer_before_the_end_arrives_whole(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    answer = await client.ask("GET /now/large HTTP/1.1", "Connection: close")
    assert answer.body == LARGE
    assert await client.ended()


async def test_shutdown_lets_requests_finish_and_ends_idle_connections(serve: Serve, handler: Handler) -> None:
    served = await serve(handler)
    idle, busy = await served.connect(), await served.connect()
    await idle.ask("GET /now HTTP/1.1")
    busy.send("GET /wait HTTP/1.1")
    await handler.entered.wait()
    closing = asyncio.create_task(served.server.close(5.0))
    assert await idle.ended()
    handler.released.set()
    answer = await busy.answer()
    assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
    assert await busy.ended()
    await closing
    with pytest.raises(OSError):
        await served.connect()


async def test_shutdown_cuts_off_what_does_not_finish(serve: Serve, handler: Handler) -> None:
    served = await serve(handler)
    client = await served.connect()
    client.send("GET /wait HTTP/1.1")
    await handler.entered.wait()
    await served.server.close(0.05)
    assert handler.cancelled.is_set()
    assert await client.ended()


async def test_the_date_is_that_of_the_clock(serve: Serve, handler: Handler) -> None:
    client = await (await serve(handler)).connect()
    answer = await client.ask("GET /now HTTP/1.1")
    assert answer.headers["date"].endswith(" GMT")


async def test_who_asks_again_and_again_and_never_reads_gets_no_more_than_its_bound(
    serve: Serve, handler: Handler
) -> None:
    """Each request comes alone, so that each could be answered at once."""
    served = await serve(handler)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect(served.address)
    for number in range(300):
        client.send(b"GET /now/middle HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(0)
            if len(handler.asked) > number:
                break
    (connection,) = served.server.connections
    assert connection.unread < 500_000
    client.close()
