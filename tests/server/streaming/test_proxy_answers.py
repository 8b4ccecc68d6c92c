"""What of a backend's answer a client of a proxy gets, and what of a client's request the backend gets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from sampan.api.errors import InternalError, ServiceUnavailable, TooManyRequests
from sampan.server.authn.bearer import drop_credentials
from sampan.server.http import HttpServer
from sampan.server.request import Request, Response
from sampan.server.streaming import slots
from sampan.server.streaming.backend import BackendBroke
from sampan.server.streaming.handlers import StreamingHandlers

MakeRequest = Callable[..., Request]


async def body_of(response: Response) -> bytes:
    assert not isinstance(response.body, bytes)
    stream: AsyncIterator[bytes] = response.body  # type: ignore[assignment] # never pushed here
    return b"".join([chunk async for chunk in stream])


def answering(head: str, body: bytes = b"") -> Any:
    async def behaviour(line: str, request: Mapping[str, str], reader: Any, writer: Any) -> None:
        length = "" if "ontent-Length" in head else f"Content-Length: {len(body)}\r\n"
        writer.write(f"HTTP/1.1 {head}\r\n{length}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()

    return behaviour


@pytest.fixture
def proxied(make_request: MakeRequest, node: Any) -> Callable[..., Request]:
    def make(path: str = "/", headers: Mapping[str, str] | None = None, **more: Any) -> Request:
        name = f"p:{node.port}"
        prefix = f"/api/v1/namespaces/ns/pods/{name}/proxy"
        return make_request("proxy", more.pop("raw_query", ""), headers, name=name, path=prefix + path, **more)

    return make


async def test_every_cookie_of_the_backend_reaches_the_client(
    handlers: StreamingHandlers, node: Any, proxied: Any
) -> None:
    node.behaviour = answering("200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nSet-Cookie: c=3\r\nX-Other: 1", b"hi")

    async def handle(request: Request) -> Response:
        return await handlers.handle(proxied())

    server = HttpServer(handle)
    host, port = await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        writer.close()
    finally:
        await server.close(0)
    cookies = [line.partition(": ")[2] for line in head if line.lower().startswith("set-cookie:")]
    assert cookies == ["a=1", "b=2", "c=3"]


@pytest.mark.parametrize("path", ["//x//y/", "/a%2Fb%20c/;p=1/..%2f/./..", "/%E2%82%AC/$&+,:=@~'()*!"])
async def test_paths_and_queries_reach_the_backend_as_they_were_sent(
    handlers: StreamingHandlers, node: Any, proxied: Any, path: str
) -> None:
    node.behaviour = answering("204 No Content\r\nContent-Length: 0")
    query = "a=%20+&&b&b=%zz&c=//?/"
    response = await handlers.handle(proxied(path, raw_query=query))
    await body_of(response)
    assert node.requests[0][0] == f"GET {path}?{query} HTTP/1.1"


async def test_headers_of_one_hop_stay_on_it_both_ways(handlers: StreamingHandlers, node: Any, proxied: Any) -> None:
    node.behaviour = answering(
        "200 OK\r\nKeep-Alive: timeout=5\r\nConnection: X-Private\r\nX-Private: 1\r\nX-Public: 1\r\n"
        "Access-Control-Allow-Origin: *"
    )
    sent = {
        "te": "trailers",
        "keep-alive": "1",
        "connection": "x-mine",
        "x-mine": "1",
        "x-forwarded-for": "198.51.100.1",
    }
    response = await handlers.handle(proxied(headers=sent))
    await body_of(response)
    got = node.requests[0][1]
    assert not {"te", "keep-alive", "x-mine"} & set(got)
    assert got["x-forwarded-for"] == "198.51.100.1, 192.0.2.7"
    assert response.headers["X-Public"] == "1"
    assert not {"Keep-Alive", "X-Private", "Connection", "Access-Control-Allow-Origin"} & set(response.headers)


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_links_in_html_lead_back_through_the_proxy(
    handlers: StreamingHandlers, node: Any, proxied: Any, encoding: str
) -> None:
    page = b'<a href="/x">' + b"filler " * 5000 + b'<img src="/y">'
    head = "200 OK\r\nContent-Type: text/html; charset=utf-8" + (
        f"\r\nContent-Encoding: {encoding}" if encoding else ""
    )
    node.behaviour = answering(head, gzip.compress(page) if encoding else page)
    request = proxied()
    response = await handlers.handle(request)
    prefix = request.raw_path.rstrip("/").encode()
    assert await body_of(response) == page.replace(b'"/', b'"' + prefix + b"/")
    assert not {"Content-Length", "Content-Encoding"} & set(response.headers)


async def test_what_is_not_html_passes_unread(handlers: StreamingHandlers, node: Any, proxied: Any) -> None:
    script = b"\"<a href='/x'>\""
    node.behaviour = answering("200 OK\r\nContent-Type: text/javascript", script)
    response = await handlers.handle(proxied())
    assert (await body_of(response), response.headers["Content-Length"]) == (script, str(len(script)))


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(
    handlers: StreamingHandlers, node: Any, proxied: Any
) -> None:
    node.behaviour = answering("200 OK\r\nContent-Length: 100", b"half")
    response = await handlers.handle(proxied())
    with pytest.raises(BackendBroke):
        await body_of(response)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "EOF"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed HTTP response"),
    ],
)
async def test_a_backend_that_speaks_no_http_is_unavailable_in_upstreams_words(
    handlers: StreamingHandlers, node: Any, proxied: Any, answer: bytes, fault: str
) -> None:
    async def behaviour(line: str, headers: Any, reader: Any, writer: Any) -> None:
        writer.write(answer)

    node.behaviour = behaviour
    with pytest.raises(ServiceUnavailable) as caught:
        await handlers.handle(proxied(method="POST"))
    assert caught.value.message == f"error trying to reach service: {fault}"


async def test_a_refused_connection_is_told_as_upstream_tells_it(
    handlers: StreamingHandlers, node: Any, proxied: Any
) -> None:
    request = proxied()
    await node.stop()
    with pytest.raises(ServiceUnavailable) as caught:
        await handlers.handle(request)
    text = f"error trying to reach service: dial tcp 127.0.0.1:{node.port}: connect: connection refused"
    assert caught.value.message == text
    await node.start()


@pytest.mark.parametrize("lines", [["{token}, chat"], ["chat", "{token}"], ["{token}", "chat"], ["chat, {token}", "x"]])
async def test_a_browsers_token_does_not_reach_the_pod_however_it_is_spelled(
    handlers: StreamingHandlers, node: Any, proxied: Any, lines: list[str]
) -> None:
    sent: list[str] = []

    async def behaviour(line: str, request: Mapping[str, str], reader: Any, writer: Any) -> None:
        sent.extend(request.values())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    node.behaviour = behaviour
    token = "base64url.bearer.authorization.k8s.io.c2VjcmV0"
    values = [each.format(token=token) for each in lines]
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-protocol": ", ".join(values)}
    request = proxied("/ws", headers)
    request.header_lists = {"sec-websocket-protocol": values} if len(values) > 1 else {}
    drop_credentials(request)
    await handlers.handle(request)
    assert not [each for each in sent if token in each]
    assert set(sent) & {"chat", "x"}


async def test_a_web_socket_to_a_pod_is_joined_with_it(
    handlers: StreamingHandlers, node: Any, client: Any, proxied: Any
) -> None:
    async def behaviour(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\n\r\n")
        writer.write((await reader.readexactly(3)).upper())
        await writer.drain()

    node.behaviour = behaviour
    client.to_server.put_nowait(b"abc")
    headers = {"upgrade": "websocket", "connection": "keep-alive, Upgrade", "cookie": "a=b", "sec-websocket-key": "k"}
    await handlers.handle(proxied("/socket", headers, raw_query="a=b"))
    assert (client.status, client.headers["Sec-Websocket-Accept"]) == (101, "k")
    assert await client.from_server.get() == b"ABC"
    line, sent = node.requests[0]
    assert (line, sent["cookie"], sent["connection"]) == ("GET /socket?a=b HTTP/1.1", "a=b", "Upgrade")


@pytest.mark.parametrize(("status", "error"), [("302 Found\r\nLocation: /x", InternalError), ("403 Forbidden", None)])
async def test_a_backend_that_does_not_upgrade_gets_no_connection(
    handlers: StreamingHandlers, node: Any, client: Any, proxied: Any, status: str, error: type[Exception] | None
) -> None:
    node.behaviour = answering(status, b"no")
    request = proxied("/socket", {"upgrade": "websocket", "connection": "Upgrade"})
    if error is None:
        assert (await handlers.handle(request)).body == b"no"
    else:
        with pytest.raises(error, match="invalid upgrade response: status code 302"):
            await handlers.handle(request)
    assert client.status == 0


async def silent_log(line: str, headers: Mapping[str, str], reader: Any, writer: Any) -> None:
    if line.startswith("GET /containerLogs"):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await reader.read()  # nothing more is logged while the follower is there
    else:
        await answering("200 OK", b"hi")(line, headers, reader, writer)


async def test_a_hundred_followed_logs_leave_room_for_others(
    handlers: StreamingHandlers, node: Any, make_request: MakeRequest, proxied: Any
) -> None:
    node.behaviour = silent_log
    followed = [await handlers.handle(make_request("log", "container=a&follow=true")) for _ in range(120)]
    assert await body_of(await handlers.handle(proxied())) == b"hi"
    for response in followed:  # not one of them was read: closing them must do
        await response.body.aclose()  # type: ignore[union-attr]
    assert handlers._parts is not None
    assert handlers._parts.logs._slots.taken == 0


async def test_a_user_who_holds_too_many_connections_is_told_and_others_are_not(
    handlers: StreamingHandlers, node: Any, make_request: MakeRequest, proxied: Any
) -> None:
    node.behaviour = silent_log
    bounded = slots.Slots(per_user=2)
    parts = await handlers._make()
    parts.logs._slots = parts.proxy._forwarder._slots = bounded
    followed = [await handlers.handle(make_request("log", "container=a&follow=true")) for _ in range(2)]
    with pytest.raises(TooManyRequests):
        await handlers.handle(proxied())
    other = proxied()
    other.user = type(other.user)("other")
    assert await body_of(await handlers.handle(other)) == b"hi"
    await followed.pop().body.aclose()  # type: ignore[union-attr]
    assert await body_of(await handlers.handle(proxied())) == b"hi"
    await followed.pop().body.aclose()  # type: ignore[union-attr]


def test_slots_are_counted_for_users_backends_and_all_and_forgotten_after() -> None:
    bounded = slots.Slots(per_user=2, per_backend=3, in_all=4)
    kept = [bounded.take("a", "x"), bounded.take("a", "y")]
    for user, backend in (("a", "z"),):
        with pytest.raises(TooManyRequests):
            bounded.take(user, backend)
    kept += [bounded.take("b", "x"), bounded.take("b", "x")]
    with pytest.raises(TooManyRequests):
        bounded.take("c", "x")
    with pytest.raises(TooManyRequests):
        bounded.take("c", "z")
    for release in [*kept, *kept]:
        release()
    assert (bounded.taken, dict(bounded._users), dict(bounded._backends)) == (0, {}, {})
