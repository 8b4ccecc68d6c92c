"""Connections to backends: upgraded ones as raw bytes, plain ones through an HTTP client.

The only module of ``streaming`` that opens sockets. Redirects are never followed, and nothing is relayed to an upgraded
connection before the backend has said 101 (CVE-2018-1002105).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import aiohttp
from yarl import URL

from sampan.api.errors import InternalError
from sampan.records import dataclass
from sampan.server.request import Connection
from sampan.server.streaming.faults import dial_fault, exchange_fault

_CONNECT_SECONDS = 30
_HEAD_SECONDS = 30
_HEAD_LIMIT_BYTES = 64 << 10
_ERROR_BODY_LIMIT_BYTES = 64 << 10
_CHUNK_BYTES = 64 << 10
_FLUSH_SECONDS = 2.0
_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: an address that has been checked, and TLS or None. ``host`` is what the backend is called."""

    address: str
    port: int
    tls: ssl.SSLContext | None = None
    host: str = ""

    @property
    def authority(self) -> str:
        name = self.host or self.address
        name = f"[{name}]" if ":" in name else name
        return f"{name}:{self.port}"

    @property
    def scheme(self) -> str:
        return "https" if self.tls is not None else "http"


class BackendRefused(Exception):
    """The backend answered an upgrade with something else than 101: this."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"backend answered {status}")
        self.status, self.headers, self.body = status, headers, body


class DialError(InternalError):
    """No connection to the backend; ``fault`` says why without saying what was tried."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"error dialing backend: {fault}")
        self.fault = fault


class BackendBroke(ConnectionError):
    """The backend broke off in the middle of an answer: what was passed on so far is not the whole."""


@dataclass(slots=True)
class Upgraded:
    """A backend connection after its 101."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        try:
            return await self.reader.read(_CHUNK_BYTES)
        except (ConnectionError, ssl.SSLError):
            return b""  # cut off is the end, too

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when the backend has gone."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError("the backend has gone")
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Sends what is there, and gives it up after some seconds with a backend that does not read."""
        transport = self.writer.transport
        if transport.is_closing():
            return
        unsent = transport.get_write_buffer_size()
        transport.close()
        if unsent:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.abort)

    def abort(self) -> None:
        """Ends the connection with a reset; what was not sent is dropped, in the kernel too."""
        transport = self.writer.transport
        raw = transport.get_extra_info("socket")
        try:
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        except (OSError, ValueError):  # as uvloop says it
            pass  # gone already
        transport.abort()


async def connect_upgraded(target: Target, method: str, path: str, headers: Sequence[tuple[str, str]]) -> Upgraded:
    """Sends the request and waits for 101. Raises BackendRefused, DialError."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                target.address, target.port, ssl=target.tls, limit=_HEAD_LIMIT_BYTES,
                server_hostname=(target.host or target.address) if target.tls else None,
            )  # fmt: skip
    except (OSError, TimeoutError) as error:
        raise DialError(dial_fault(error, target.address, target.port)) from error
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {target.authority}"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        async with asyncio.timeout(_HEAD_SECONDS):
            await writer.drain()
            status, answered = parse_head(await reader.readuntil(b"\r\n\r\n"))
            if status != 101:
                raise BackendRefused(status, answered, await _error_body(reader, answered))
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        writer.close()
        raise DialError(exchange_fault(error, target.address, target.port)) from error
    except BaseException:
        writer.close()
        raise
    return Upgraded(reader, writer, answered)


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers (lower case). Raises ValueError."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1."):
        raise ValueError(f"not an HTTP answer: {first[:40]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers


async def _error_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """What the backend says beside its refusal, as far as it is of known length; never more than a little."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while len(body) < _ERROR_BODY_LIMIT_BYTES:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0 or size > _ERROR_BODY_LIMIT_BYTES:
                break
            body += (await reader.readexactly(size + 2))[:-2]
        return body
    length = min(int(headers.get("content-length") or 0), _ERROR_BODY_LIMIT_BYTES)
    return await reader.readexactly(length)


async def pipe(client: Connection, backend: Upgraded) -> None:
    """Copies both ways until either side ends; then closes both."""

    async def upload() -> None:
        while data := await client.read():
            await backend.write(data)

    async def download() -> None:
        while data := await backend.read():
            await client.write(data)

    whole = False
    try:
        whole = await first_to_end(upload(), download())
    finally:
        backend.close() if whole else backend.abort()
        client.close()


async def first_to_end(*works: Coroutine[Any, Any, None]) -> bool:
    """Runs coroutines until the first ends, then cancels the rest. False: it ended by a connection that broke."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_until_broken(work), name="stream") for work in works]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    return all(task.result() for task in done)


async def _until_broken(work: Coroutine[Any, Any, None]) -> bool:
    try:
        await work
    except (ConnectionError, ssl.SSLError):
        return False
    return True


class HttpClient:
    """Plain requests to backends. Nothing is followed, decoded, kept as cookies or taken from the environment.

    It opens as many connections as it is asked for: ``Slots`` bounds them, by whom they are for.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=None),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
                max_line_size=_HEAD_LIMIT_BYTES,
                max_field_size=_HEAD_LIMIT_BYTES,
            )
        return self._session

    async def request(
        self,
        target: Target,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | AsyncIterator[bytes],
    ) -> aiohttp.ClientResponse:
        """``path`` with its query, encoded. The caller closes the response. Raises DialError."""
        address = f"[{target.address}]" if ":" in target.address else target.address
        try:
            return await self._open().request(
                method,
                URL(f"{target.scheme}://{address}:{target.port}{path}", encoded=True),
                headers=[("Host", target.authority), *headers],
                data=body or None,
                ssl=target.tls if target.tls is not None else True,
                server_hostname=target.host or None if target.tls is not None else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise DialError(exchange_fault(error, target.address, target.port)) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class Body:
    """The body of a backend's answer as it comes, for whoever sends it on; ``aclose`` it even when never begun.

    ``whole``: an answer that breaks off raises BackendBroke; else it just ends (a followed log).
    """

    def __init__(self, response: aiohttp.ClientResponse, release: Callable[[], None], *, whole: bool) -> None:
        self._response, self._release, self._whole = response, release, whole

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self.aclose()
            if self._whole:
                raise BackendBroke("the backend broke off its answer") from error
            raise StopAsyncIteration from error
        except BaseException:
            await self.aclose()
            raise
        if not data:
            self._response.release()  # read to its end: the connection may serve another
            await self.aclose()
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        self._response.close()
        self._release()
