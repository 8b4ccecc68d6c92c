"""exec, attach and port-forward: the client's connection joined byte for byte with the runtime's streaming server.

SPDY/3.1 and WebSocket alike: the bytes are not looked at. Nothing of the client's connection reaches the backend
before it agreed with 101 (CVE-2018-1002105), redirects are not followed, credentials are not passed on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from sampan.api.errors import BadRequest, InternalError

_BLOCK = 65536
_HEAD_BYTES = 65536
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_REFUSAL_SECONDS = 1.0
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
#: what of the request the backend has to know
_PASSED_ON = ("connection", "upgrade", "x-stream-protocol-version", "origin")
_PASSED_PREFIXES = ("sec-websocket-",)


def check_upgrade(request: web.BaseRequest) -> None:
    """Raises BadRequest, as upstream, when the request asks for no upgrade."""
    tokens = request.headers.get("Connection", "").lower()
    if "upgrade" not in tokens or not request.headers.get("Upgrade"):
        raise BadRequest("Upgrade request required")


class Hijacked(web.StreamResponse):
    """Stands in for the answer of a connection that was taken over: aiohttp must write nothing."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    head: bytes


async def proxy_upgrade(request: web.BaseRequest, url: str) -> web.StreamResponse:
    """Joins the client with ``url``, which the runtime gave; returns when either end closes.

    An answer other than 101 goes to the client as a plain response. Raises InternalError when the runtime's
    streaming server cannot be reached.
    """
    target = urlsplit(url)
    if target.scheme != "http" or not target.hostname:
        raise InternalError(f"the runtime gave a streaming URL of scheme {target.scheme!r}, not http")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(target.hostname, target.port or 80, limit=_HEAD_BYTES)
    except (OSError, TimeoutError) as error:
        raise InternalError(f"dialing the runtime's streaming server: {error}") from error
    try:
        writer.write(_request_head(request, target.netloc, target.path, target.query))
        answer = await _read_answer(reader)
        if answer.status != 101:
            body = await _read_refusal(reader, answer.head)
            return web.Response(status=answer.status if answer.status >= 400 else 502, body=body)
        client = _Client(request)
        client.send(answer.head)
        await _join(client, reader, writer)
        return Hijacked()
    finally:
        writer.close()


def _request_head(request: web.BaseRequest, host: str, path: str, query: str) -> bytes:
    lines = [f"{request.method} {path}{'?' + query if query else ''} HTTP/1.1", f"Host: {host}"]
    for name, value in request.headers.items():
        lower = name.lower()
        if lower == "sec-websocket-protocol":
            # A browser's bearer token travels as a subprotocol; it is for us and not for the backend.
            offered = [each.strip() for each in value.split(",")]
            value = ", ".join(each for each in offered if not each.startswith("base64url.bearer.authorization."))
        if lower in _PASSED_ON or lower.startswith(_PASSED_PREFIXES):
            lines.append(f"{name}: {value}")
    if request.method == "POST":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _read_answer(reader: asyncio.StreamReader) -> _Answer:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError) as error:
        raise InternalError(f"the runtime's streaming server gave no answer: {error}") from error
    parts = head.decode("latin-1").split("\r\n", 1)[0].split(" ", 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise InternalError("the runtime's streaming server gave no HTTP answer")
    return _Answer(int(parts[1]), head)


async def _read_refusal(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The text of an error, when its length is told and it comes soon; it is only shown to a person."""
    match = _CONTENT_LENGTH.search(head)
    try:
        async with asyncio.timeout(_REFUSAL_SECONDS):
            return await reader.readexactly(min(int(match.group(1)), _BLOCK)) if match else b""
    except (OSError, EOFError, TimeoutError):
        return b""


class _Client:
    """The client's end after the upgrade.

    aiohttp hands over what it receives as to a WebSocket reader (``set_parser``), including bytes that came right
    behind the request; the StreamReader pauses the transport when we do not keep up.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        self._request = request
        self._transport = request.transport
        self.reader = asyncio.StreamReader(limit=_BLOCK)
        self.reader.set_transport(request.transport)
        request.protocol.set_parser(self)  # type: ignore[arg-type]  # it needs feed_data and feed_eof only

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self.reader.feed_eof()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self.reader.feed_eof()

    def send(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    async def drain(self) -> None:
        await self._request.writer.drain()


async def _join(client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both protocols end streams inside the connection, so a closed end means that all is over."""

    async def upstream() -> None:
        while data := await client.reader.read(_BLOCK):
            writer.write(data)
            await writer.drain()

    async def downstream() -> None:
        while data := await reader.read(_BLOCK):
            client.send(data)
            await client.drain()

    async with asyncio.TaskGroup() as group:
        tasks = (
            group.create_task(_until_closed(upstream()), name="stream to container"),
            group.create_task(_until_closed(downstream()), name="stream from container"),
        )
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _until_closed(copying: Coroutine[None, None, None]) -> None:
    """A connection that breaks has ended, like one that was closed."""
    try:
        await copying
    except ConnectionError:
        return
