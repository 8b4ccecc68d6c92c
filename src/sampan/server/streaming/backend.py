"""Connections to backends: upgraded ones as raw bytes, plain ones through an HTTP client.

The only module of ``streaming`` that opens sockets. Redirects are never followed, and nothing is relayed to an upgraded
connection before the backend has said 101 (CVE-2018-1002105).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from sampan.api.errors import ApiError, InternalError
from sampan.server.request import Connection

_CONNECT_SECONDS = 30
_HEAD_SECONDS = 30
_HEAD_LIMIT_BYTES = 64 << 10
_ERROR_BODY_LIMIT_BYTES = 64 << 10
_CHUNK_BYTES = 64 << 10


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
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


async def connect_upgraded(target: Target, method: str, path: str, headers: Mapping[str, str]) -> Upgraded:
    """Sends the request and waits for 101. Raises BackendRefused, InternalError (``error dialing backend``)."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                target.address, target.port, ssl=target.tls, limit=_HEAD_LIMIT_BYTES,
                server_hostname=(target.host or target.address) if target.tls else None,
            )  # fmt: skip
    except (OSError, TimeoutError) as error:
        raise dial_error(error) from error
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {target.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        async with asyncio.timeout(_HEAD_SECONDS):
            await writer.drain()
            status, answered = parse_head(await reader.readuntil(b"\r\n\r\n"))
            if status != 101:
                raise BackendRefused(status, answered, await _error_body(reader, answered))
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        writer.close()
        raise dial_error(error) from error
    except BaseException:
        writer.close()
        raise
    return Upgraded(reader, writer, answered)


def dial_error(error: BaseException) -> ApiError:
    text = str(error) or type(error).__name__
    return InternalError(f"error dialing backend: {text}")


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

    try:
        await first_to_end(upload(), download())
    finally:
        backend.close()
        client.close()


async def first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Runs coroutines until the first ends, then cancels the rest. Broken connections are a normal end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_until_broken(work), name="stream") for work in works]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _until_broken(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (ConnectionError, ssl.SSLError):
        return


class HttpClient:
    """Plain requests to backends. Nothing is followed, decoded, kept as cookies or taken from the environment."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            )
        return self._session

    async def request(
        self, target: Target, method: str, path: str, headers: Mapping[str, str], body: bytes | AsyncIterator[bytes]
    ) -> aiohttp.ClientResponse:
        """``path`` with its query, encoded. The caller closes the response. Raises aiohttp.ClientError, OSError."""
        address = f"[{target.address}]" if ":" in target.address else target.address
        return await self._open().request(
            method,
            URL(f"{target.scheme}://{address}:{target.port}{path}", encoded=True),
            headers={"Host": target.authority, **headers},
            data=body or None,
            ssl=target.tls if target.tls is not None else True,
            server_hostname=target.host or None if target.tls is not None else None,
            allow_redirects=False,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it comes. A backend that breaks off ends it. Closes the response."""
    try:
        async for data in response.content.iter_any():
            yield data
    except (aiohttp.ClientError, OSError):
        return
    finally:
        response.close()
