"""The HTTP transport: sockets, TLS, and the translation between aiohttp's requests and ours.

The only module of the server, with ``wire``, that knows aiohttp. It routes nothing and decides nothing: each request
becomes a ``Request``, goes through the one handler, and its ``Response`` is written. A client that goes away cancels
its handler.
"""

from __future__ import annotations

import asyncio
import gzip
import http
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time

from sampan.api import errors
from sampan.server import wire
from sampan.server.errors import ExpectationFailed, RequestTimeout, status_response
from sampan.server.request import Connection, Handler, Request, Response

log = logging.getLogger(__name__)

#: upstream's MaxRequestBodyBytes
MAX_BODY_BYTES = 3 * 1024 * 1024
#: answers below this are not worth compressing (upstream's default)
GZIP_MIN_BYTES = 128 * 1024
#: a body that stands still this long is given up
BODY_IDLE_SECONDS = 32.0
#: an upgraded connection holds at most this much unread data before its peer is paused
_HIGH_WATER_BYTES = 256 * 1024
#: a body below this is copied behind its head, for one write instead of two
_COPIED_BYTES = 64 * 1024
_WITHOUT_BODY = frozenset({204, 304})
_REASONS = {status.value: status.phrase for status in http.HTTPStatus}
_NO_QUERY: Mapping[str, str] = {}
_NO_LISTS: Mapping[str, list[str]] = {}


class HttpServer:
    """Listens and serves until ``close``. ``address`` is known once ``start`` returned."""

    def __init__(self, handler: Handler, ssl_context: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._ssl = ssl_context
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        self._web = wire.WebServer(
            self._serve,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=120.0,
            lingering_time=2.0,
            auto_decompress=False,
            max_line_size=wire.MAX_LINE_BYTES,
            max_field_size=wire.MAX_HEADER_BYTES,
            max_headers=wire.MAX_HEADERS,
        )
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._web, host, port, ssl=self._ssl, backlog=1024)
        bound: tuple[str, int] = self._listener.sockets[0].getsockname()[:2]
        return bound

    def stop_listening(self) -> None:
        """First step of a shutdown: nobody new comes in; idle connections are closed."""
        if self._listener is not None:
            self._listener.close()
        if self._web is not None:
            self._web.pre_shutdown()

    async def close(self, timeout_seconds: float) -> None:
        """Lets requests in flight finish until the deadline, then cuts them off."""
        self.stop_listening()
        if self._web is not None:
            await self._web.shutdown(timeout_seconds)
        if self._listener is not None:
            await self._listener.wait_closed()

    async def _serve(self, incoming: web.BaseRequest) -> web.StreamResponse:
        if incoming.version.major != 1:
            return wire.version_error(incoming.version)
        exchange = _Exchange(incoming)
        try:
            request = exchange.request()
        except errors.ApiError as error:
            return await exchange.send(Request("", "", _NO_QUERY, _NO_QUERY), status_response(error))
        response = await self._handler(request)
        return await exchange.send(request, response)


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, incoming: web.BaseRequest) -> None:
        self._incoming = incoming

    def request(self) -> Request:
        incoming = self._incoming
        headers, lists = _headers(incoming)
        path, _, raw_query = incoming.raw_path.partition("?")
        if not path.startswith("/") and "://" in path:  # absolute-form
            path = "/" + path.split("://", 1)[1].partition("/")[2]
        query, query_lists = _query(raw_query) if raw_query else (_NO_QUERY, _NO_LISTS)
        request = Request(
            method=incoming.method,
            raw_path=path,
            query=query,
            headers=headers,
            query_lists=query_lists,
            raw_query=raw_query,
            header_lists=lists,
            remote_address=incoming.remote or "",
            peer_certificate=_peer_certificate(incoming),
            hijack=self._hijack,
            stream=incoming.content.iter_any,
        )
        if incoming.body_exists:
            request.read_body = self._read_body
        return request

    async def _read_body(self) -> bytes:
        incoming = self._incoming
        if (incoming.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        await self._say_continue()
        chunks: list[bytes] = []
        size = 0
        content = incoming.content
        try:
            while True:
                async with asyncio.timeout(BODY_IDLE_SECONDS):
                    chunk = await content.readany()
                if not chunk:
                    break
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                chunks.append(chunk)
        except TimeoutError as error:
            raise RequestTimeout("the request body did not arrive in time") from error
        except (web.HTTPException, ConnectionError, ValueError) as error:
            raise errors.BadRequest(f"cannot read the request body: {error}") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _say_continue(self) -> None:
        """Lets a client that waits for leave (``Expect: 100-continue``) send its body. Raises ExpectationFailed."""
        incoming = self._incoming
        expected = incoming.headers.get("Expect", "").lower()
        if not expected or incoming.version < (1, 1):
            return
        if expected != "100-continue":
            raise ExpectationFailed("the server meets no expectation but 100-continue")
        await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        incoming.writer.output_size = 0  # nothing of the answer itself was sent yet

    async def _hijack(self, status: int, headers: Mapping[str, str]) -> Connection:
        transport = self._incoming.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        connection = _HijackedConnection(self._incoming)
        reason = http.HTTPStatus(status).phrase
        head = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in head):
            raise errors.InternalError("a response header holds a line break")
        transport.write("\r\n".join((*head, "", "")).encode("latin-1"))
        return connection

    async def send(self, request: Request, response: Response) -> web.StreamResponse:
        if response.hijacked:
            return _Hijacked()
        headers = response.headers
        headers.setdefault("Audit-Id", request.audit_id)
        headers.setdefault("Cache-Control", "no-cache, private")
        headers.setdefault("Content-Type", response.content_type)
        headers.setdefault("Server", "sampan")
        body = response.body
        if not isinstance(body, bytes):
            return await self._send_stream(request, response, body)
        if len(body) > GZIP_MIN_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(gzip.compress, body, 1)
            headers["Content-Encoding"] = "gzip"
            headers["Vary"] = "Accept-Encoding"
        close = response.status in (408, 413)
        incoming = self._incoming
        if incoming.method != "HEAD" and response.status not in _WITHOUT_BODY and incoming.version == HttpVersion11:
            lines = [f"{name}: {value}" for name, value in headers.items() if name != "Content-Length"]
            if request.warnings:
                lines += [f"Warning: {value}" for value in _warnings(request)]
            return _WholeAnswer(response.status, lines, body, close=close)
        answer = web.Response(status=response.status, body=body, headers=headers)
        self._add_warnings(request, answer)
        if close:
            answer.force_close()
        return answer

    async def _send_stream(
        self, request: Request, response: Response, body: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        """Headers go out at once; every chunk is flushed as it comes."""
        answer = web.StreamResponse(status=response.status, headers=response.headers)
        for name, value in response.more_headers:
            answer.headers.add(name, value)
        self._add_warnings(request, answer)
        if "Content-Length" not in response.headers:
            answer.enable_chunked_encoding()
        await answer.prepare(self._incoming)
        try:
            async for chunk in body:
                if chunk:
                    await answer.write(chunk)
            await answer.write_eof()
        except ConnectionError:
            log.debug("the reader of %s has gone", request.raw_path)
        except Exception:
            # The status line is out: the only honest sign of failure left is a broken transfer.
            log.exception("streaming %s failed", request.raw_path)
            if self._incoming.transport is not None:
                self._incoming.transport.abort()
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        return answer

    def _add_warnings(self, request: Request, answer: web.StreamResponse) -> None:
        for value in _warnings(request):
            answer.headers.add("Warning", value)


def _warnings(request: Request) -> list[str]:
    return [f"299 - {orjson.dumps(text).decode()}" for text in limited_warnings(request.warnings)]


def limited_warnings(warnings: list[str]) -> list[str]:
    """Upstream's bound: beyond 4096 characters in all, each is cut to 256, and what is still too much is dropped."""
    printable = ["".join(c if c.isprintable() else " " for c in text) for text in warnings]
    if sum(map(len, printable)) <= 4096:
        return printable
    kept: list[str] = []
    total = 0
    for text in printable:
        text = text[:256]
        total += len(text)
        if total > 4096:
            break
        kept.append(text)
    return kept


class _WholeAnswer(web.StreamResponse):
    """An answer whose body is known, written in one go.

    Does what ``web.Response`` does for HTTP/1.1 without its mappings, which cost more than most requests.
    """

    def __init__(self, status: int, lines: list[str], body: bytes, *, close: bool) -> None:
        # Not the base's: it would make what is saved here. aiohttp calls only the three methods below.
        self._status = status
        self._lines, self._whole, self._close = lines, body, close
        self._incoming: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool:
        return not self._close

    async def prepare(self, request: web.BaseRequest) -> None:
        self._incoming = request
        self._close = self._close or not request.keep_alive
        return

    async def write_eof(self, data: bytes = b"") -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        transport = incoming.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        body = self._whole
        lines = [f"HTTP/1.1 {self._status} {_REASONS.get(self._status, '')}", *self._lines]
        lines.append(f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}")
        if self._close:
            lines.append("Connection: close")
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) or head.count("\r") != len(lines):  # Date's, and one between lines
            raise errors.InternalError("a response header holds a line break")
        if len(body) < _COPIED_BYTES:
            transport.write(b"%s\r\n\r\n%s" % (head.encode(), body))
        else:
            transport.write(head.encode() + b"\r\n\r\n")
            transport.write(body)
        await incoming.writer.drain()


class _Hijacked(web.StreamResponse):
    """Stands in for the answer of a connection that was taken over: aiohttp must write nothing."""

    def __init__(self) -> None:
        super().__init__(status=200)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _HijackedConnection:
    """Raw bytes of an upgraded connection, with flow control both ways.

    aiohttp's protocol hands over what it receives as to a WebSocket reader (``set_parser``), including bytes that
    came right behind the request.
    """

    def __init__(self, incoming: web.BaseRequest) -> None:
        self._incoming = incoming
        self._transport = incoming.transport
        self._buffer = bytearray()
        self._eof = False
        self._paused = False
        self._wake = asyncio.Event()
        incoming.protocol.set_parser(self)  # type: ignore[arg-type]  # it needs feed_data and feed_eof only

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._buffer += data
        self._wake.set()
        if len(self._buffer) > _HIGH_WATER_BYTES and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        return False, b""

    def feed_eof(self) -> None:
        self._eof = True
        self._wake.set()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self.feed_eof()

    async def read(self, limit: int = 65536) -> bytes:
        while not self._buffer:
            if self._eof or self._transport is None or self._transport.is_closing():
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        if self._paused and len(self._buffer) < _HIGH_WATER_BYTES // 2 and self._transport is not None:
            self._transport.resume_reading()
            self._paused = False
        return data

    async def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        await self._incoming.writer.drain()

    def close(self) -> None:
        self.feed_eof()
        if self._transport is not None:
            self._transport.close()


def _headers(incoming: web.BaseRequest) -> tuple[dict[str, str], Mapping[str, list[str]]]:
    headers: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in incoming.headers.items():
        name = name.lower()
        if name in headers:
            lists.setdefault(name, [headers[name]]).append(value)
            headers[name] = f"{headers[name]}, {value}"
        else:
            headers[name] = value
    if "authorization" in lists:
        raise errors.BadRequest("the request has more than one Authorization header")
    return headers, lists or _NO_LISTS


def _query(raw_query: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Each parameter's first value, as Go's ``Values.Get`` gives it, and all of them."""
    lists: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(raw_query, keep_blank_values=True, max_num_fields=1000, errors="strict")
    except ValueError as error:  # also UnicodeDecodeError
        raise errors.BadRequest(f"invalid query: {error}") from error
    for key, value in pairs:
        lists.setdefault(key, []).append(value)
    return {key: values[0] for key, values in lists.items()}, lists


def _peer_certificate(incoming: web.BaseRequest) -> bytes | None:
    transport = incoming.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    return cast(ssl.SSLObject, tls).getpeercert(binary_form=True) if tls is not None else None


def _too_large() -> errors.RequestEntityTooLarge:
    return errors.RequestEntityTooLarge(f"Request entity is too large: limit is {MAX_BODY_BYTES}")


class TlsFiles:
    """The serving certificate and the client CA on disk, loaded into one context that ``reload`` refreshes.

    Client certificates are asked for and verified, but not required: other credentials may come in a header.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self.context = wire.TlsContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.reload()

    def reload(self) -> None:
        """New connections use the files as they are now. Raises OSError or ssl.SSLError and keeps what it had."""
        self.context.load_cert_chain(self._cert, self._key)
        if self._client_ca is not None:
            self.context.load_verify_locations(self._client_ca)
            self.context.verify_mode = ssl.CERT_OPTIONAL


__all__ = ["MAX_BODY_BYTES", "HttpServer", "TlsFiles", "limited_warnings"]
