"""The client transport over HTTP(S), by aiohttp: the only module of the client that speaks HTTP.

Implements ``sampan.api.transport.Transport`` for any Kubernetes API server, and ``stream`` for logs. Faults of the
network become ``ServiceUnavailable``, so callers know one family of errors. With one server it retries nothing. Of
several (``servers``) the next one is asked when one is not there: with whatever was not sent, and with reads always;
a write that was sent may have happened, so what becomes of it is told to the caller and never sent again.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import tempfile
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from yarl import URL

from sampan.api.errors import ApiError, BadRequest, ServiceUnavailable, from_status
from sampan.api.faults import cause
from sampan.api.resources import Resource
from sampan.api.transport import LEADER_HEADER, CacheView, Call, WatchEvent
from sampan.client import tasks
from sampan.client.kubeconfig import Connection
from sampan.client.requestmetrics import RequestMetrics
from sampan.client.servers import Servers
from sampan.metrics import current

CONNECT_SECONDS = 10.0
CALL_SECONDS = 70.0
#: between the end of connections with a certificate of before and that of what kept them
PARTING_SECONDS = 1.0
#: the same while there is another server to go to
CONNECT_ELSEWHERE_SECONDS = 2.0
#: how long a server may keep a read waiting for the beginning of an answer while there is another one: it may hang
ANSWER_ELSEWHERE_SECONDS = 10.0
#: A machine that is gone sends no end of its connections. Where there is another server, the kernel looks for it after
#: so many seconds of silence, and gives up what was not taken for so many milliseconds: while an answer is waited for,
#: and in a watch, of which a cluster has many that are silent.
ANSWER_TIMERS, WATCH_TIMERS = (1, 2000), (2, 3000)
#: Bookmarks come about every minute: a watch that is silent for longer has lost its connection.
WATCH_SILENCE_SECONDS = 180.0


def ssl_context(connection: Connection) -> ssl.SSLContext:
    """TLS 1.2 and up, with the connection's CA and client certificate. Raises ssl.SSLError for bad PEM."""
    context = ssl.create_default_context(cadata=connection.ca_pem.decode() if connection.ca_pem else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if connection.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connection.client_certificate_pem:
        # The ssl module takes a certificate from a file only; the directory is 0700 and short-lived.
        with tempfile.TemporaryDirectory(prefix="sampan-") as directory:
            path = Path(directory) / "client.pem"
            path.touch(mode=0o600)
            path.write_bytes(connection.client_certificate_pem + b"\n" + connection.client_key_pem)
            context.load_cert_chain(path)
    return context


class Unreachable(ServiceUnavailable):
    """A server, or the way to it, was not there. ``sent``: it may have got the request; ``answering``: it had begun to
    answer."""

    def __init__(self, message: str, *, sent: bool, answering: bool = False) -> None:
        super().__init__(message)
        self.sent, self.answering = sent, answering


class HttpTransport:
    """One pool of connections. Safe for concurrent use on one event loop; ``close`` when done. ``servers``: of a
    process that keeps the list itself; else it is the connection's."""

    def __init__(self, connection: Connection, *, user_agent: str = "sampan", servers: Servers | None = None) -> None:
        self.connection = connection
        self.servers = servers or Servers([connection.server, *connection.others])
        self._user_agent = user_agent
        self._ssl = ssl_context(connection) if connection.server.startswith("https:") else None
        self._session: aiohttp.ClientSession | None = None
        #: of the session: what its connections are made of, to end them
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        #: those with a certificate of before, each until it is closed
        self._retired: dict[aiohttp.ClientSession, asyncio.Task[None]] = {}
        self._token = connection.token
        self._token_stamp: tuple[int, int] | None = None
        self._registry = current()
        self._requests: dict[str, RequestMetrics] = {}

    async def call(self, call: Call) -> Any:
        try:
            return await self._called(call)
        except Unreachable as error:
            # It ended in the middle of its answer: whoever is next gives a whole one.
            if not error.answering or len(self.servers) == 1 or not is_repeatable(call):
                raise
        return await self._called(call)

    async def _called(self, call: Call) -> Any:
        async with self._request(call, self._timeout(total=CALL_SECONDS)) as response:
            body = await _read(call, response)
            if response.status >= 400:
                raise _error(response.status, body)
            return _decode(response.content_type, body)

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with self._request(call, self._timeout(sock_read=WATCH_SILENCE_SECONDS)) as response:
            if response.status >= 400:
                raise _error(response.status, await _read(call, response))
            with self._silent(response):
                yield _events(call, response)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's body as it comes (logs with ``follow``). Entering raises ApiError."""
        async with self._request(call, self._timeout()) as response:
            if response.status >= 400:
                raise _error(response.status, await _read(call, response))
            with self._silent(response):
                yield _chunks(call, response)

    def cache_view(self, resource: Resource) -> CacheView | None:
        return None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        await tasks.cancel_and_wait(*self._retired.values())
        for retired in self._retired:
            await retired.close()
        self._retired.clear()

    def _timeout(self, *, total: float | None = None, sock_read: float | None = None) -> aiohttp.ClientTimeout:
        connect = CONNECT_SECONDS if len(self.servers) == 1 else CONNECT_ELSEWHERE_SECONDS
        return aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=sock_read)

    @asynccontextmanager
    async def _request(self, call: Call, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of the first server that gives one."""
        loop, servers = asyncio.get_running_loop(), self.servers
        *others, last = servers.order(loop.time())
        repeatable = is_repeatable(call)
        for server in others:
            try:
                async with asyncio.timeout(ANSWER_ELSEWHERE_SECONDS if repeatable else None):
                    response = await self._send(call, server, timeout)
            except Unreachable as error:
                servers.failed(server, loop.time())
                if error.sent and not repeatable:
                    raise
                continue
            except TimeoutError:
                servers.failed(server, loop.time())
                continue
            if response.status == ServiceUnavailable.code and repeatable:
                # Such as one that has lost its store: another may be better off, and this one comes last for a while.
                response.release()
                servers.failed(server, loop.time())
                continue
            break
        else:
            server = last
            try:
                response = await self._send(call, server, timeout)
            except Unreachable:
                servers.failed(server, loop.time())
                raise
        servers.answered(server)
        async with response:
            try:
                yield response
            except Unreachable:
                servers.failed(server, loop.time())
                raise

    async def _send(self, call: Call, server: str, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Raises Unreachable."""
        headers = self._headers()
        headers["Accept"] = call.accept
        if call.leader:
            headers[LEADER_HEADER] = call.leader
        data = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            data = call.body if isinstance(call.body, bytes) else orjson.dumps(call.body)
        # The path is already escaped (Resource.path): it must reach the server as it is.
        url = URL(server + call.path, encoded=True)
        if call.query:
            url = url.with_query(dict(call.query))
        extra: dict[str, Any] = {}
        if self.connection.tls_server_name:
            extra["server_hostname"] = self.connection.tls_server_name
        with self._told(server).of(call.method) as told, _network_faults(call):
            response = await self._opened().request(
                call.method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False, **extra
            )
            told(response.status)
            return response

    def _told(self, server: str) -> RequestMetrics:
        found = self._requests.get(server)
        if found is None:
            found = self._requests[server] = RequestMetrics(self._registry, URL(server).authority)
        return found

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, ssl=self._ssl if self._ssl is not None else False, socket_factory=self._socket
            )
            # A watch event may be as large as the largest object, far above aiohttp's 64 KiB line buffer.
            self._session = aiohttp.ClientSession(
                connector=connector, read_bufsize=1 << 20, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _socket(self, address: Any) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        if len(self.servers) > 1:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            _use_timers(made, ANSWER_TIMERS)
        return made

    @contextmanager
    def _silent(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        """Its connection may be silent for long; afterwards it is like the others again, if it is still there."""
        transport = response.connection.transport if response.connection is not None else None
        made = transport.get_extra_info("socket") if transport is not None and len(self.servers) > 1 else None
        with suppress(*_CLOSED):
            _use_timers(made, WATCH_TIMERS)
        try:
            yield
        finally:
            with suppress(*_CLOSED):
                _use_timers(made, ANSWER_TIMERS)

    def use_certificate(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """From the next request on it is this one. What is under way over connections with the one before has a minute
        to end; a watch goes on over a new one. Raises ssl.SSLError, ValueError for what cannot be used."""
        connection = replace(self.connection, client_certificate_pem=certificate_pem, client_key_pem=key_pem)
        self._ssl, self.connection = ssl_context(connection), connection
        retired, self._session = self._session, None
        sockets, self._sockets = self._sockets, weakref.WeakSet()
        if retired is not None:
            self._retired[retired] = tasks.detach(self._retire(retired, sockets), "old certificate")

    async def _retire(self, session: aiohttp.ClientSession, sockets: weakref.WeakSet[socket.socket]) -> None:
        await asyncio.sleep(CALL_SECONDS)
        # Whoever reads an open watch has to hear of its end: of a session that is closed aiohttp tells no reader.
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(PARTING_SECONDS)
        await session.close()
        del self._retired[session]

    def use_token(self, token: str) -> None:
        """From the next request on it is this one; for tokens that are not in a file."""
        self._token = token

    def _headers(self) -> dict[str, str]:
        connection = self.connection
        headers = {"Accept": "application/json", "User-Agent": self._user_agent, **connection.headers}
        token = self._current_token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif connection.username:
            pair = f"{connection.username}:{connection.password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        return headers

    def _current_token(self) -> str:
        path = self.connection.token_file
        if path is None:
            return self._token
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._token_stamp:
                self._token = path.read_text().strip()
                self._token_stamp = stamp
        except OSError as error:
            if not self._token:
                raise ServiceUnavailable(f"token file {path} cannot be read: {cause(error)}") from error
        return self._token


#: what a socket that is closed raises, by asyncio's own loop and by uvloop
_CLOSED = (OSError, ValueError)


def _use_timers(made: socket.socket | None, timers: tuple[int, int]) -> None:
    """Raises what ``_CLOSED`` names."""
    if made is not None:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, timers[0])
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timers[1])


#: what a POST to these groups asks changes nothing
_QUESTIONS = ("/apis/authentication.k8s.io/", "/apis/authorization.k8s.io/")


def is_repeatable(call: Call) -> bool:
    """Asked twice it is as if it had been asked once."""
    return call.method in ("GET", "HEAD", "OPTIONS") or (call.method == "POST" and call.path.startswith(_QUESTIONS))


@contextmanager
def _network_faults(call: Call, *, answering: bool = False) -> Iterator[None]:
    """Only around the network's own steps: what a caller raises while it holds an answer is the caller's."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        raise Unreachable(
            f"{call.method} {call.path}: {_describe(error)}", sent=not unsent, answering=answering
        ) from error


async def _read(call: Call, response: aiohttp.ClientResponse) -> bytes:
    with _network_faults(call, answering=True):
        return await response.read()


async def _chunks(call: Call, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _network_faults(call, answering=True):
        async for chunk in response.content.iter_any():
            yield chunk


async def _events(call: Call, response: aiohttp.ClientResponse) -> AsyncIterator[WatchEvent]:
    """One event a line; a line cut short by the end of the connection is dropped: it will come again."""
    pending: list[bytes] = []
    async for chunk in _chunks(call, response):
        head, *rest = chunk.split(b"\n")
        pending.append(head)
        for part in rest:
            line = b"".join(pending)
            pending = [part]
            if line.strip():
                yield _event(line)


def _event(line: bytes) -> WatchEvent:
    try:
        value = orjson.loads(line)
        return WatchEvent(value["type"], value["object"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadRequest(f"the server sent something that is no watch event: {error}") from error


def _decode(content_type: str, body: bytes) -> Any:
    if content_type == "application/json":
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the server's answer is not JSON: {error}") from error
    return body.decode(errors="replace")


def _error(code: int, body: bytes) -> ApiError:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:256].decode(errors="replace").strip()
        status = {"message": f"HTTP {code}: {text}" if text else f"HTTP {code}"}
    return from_status(code, status)


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return cause(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        words = cause(error.os_error)
        return words if isinstance(error, aiohttp.ClientSSLError) else f"dial tcp {error.host}:{error.port}: {words}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "unexpected EOF"
    if isinstance(error, aiohttp.ClientResponseError):
        return "malformed HTTP response"
    return cause(error)
