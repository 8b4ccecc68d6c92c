"""Lists and watches of an API server by HTTPS with the standard library alone: a ``Transport`` for a small process.

``client.http`` is the transport of all others; its library alone would double what this process needs. A connection a
request, of which there are few. Every answer has a bound in bytes, every step one in time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from sampan.api.errors import ApiError, BadRequest, ServiceUnavailable, from_status
from sampan.api.faults import cause
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, WatchEvent
from sampan.records import dataclass

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
#: Bookmarks come about every minute: a watch that is silent for longer has lost its connection.
WATCH_SILENCE_SECONDS = 180.0
MAX_BODY_BYTES = 64 * 1024 * 1024
#: Above the largest object that the API server stores.
MAX_EVENT_BYTES = 16 * 1024 * 1024
_MAX_LINE_BYTES = 16 * 1024
_MAX_HEADERS = 100
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files in PEM. They are read anew for every connection, so that renewed ones count."""

    ca: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError among them) for files that are not there or not good."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_verify_locations(self.ca)
        made.load_cert_chain(self.certificate, self.key)
        return made


class ApiTransport:
    """``server``: ``https://HOST:PORT``."""

    def __init__(self, server: str, credentials: Credentials | None, *, user_agent: str) -> None:
        parts = urlsplit(server)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if credentials else 80)
        self._credentials = credentials
        self._user_agent = user_agent

    async def listening(self) -> bool:
        """Whether anything listens there: much cheaper to ask again and again than a request."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def call(self, call: Call) -> Any:
        try:
            async with asyncio.timeout(CALL_SECONDS), self._answer(call) as answer:
                body = await answer.whole()
        except TimeoutError as error:
            raise ServiceUnavailable(f"{call.method} {call.path}: i/o timeout") from error
        if answer.status >= 400:
            raise _error(answer.status, body)
        return _decoded(body)

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with self._answer(call) as answer:
            if answer.status >= 400:
                raise _error(answer.status, await answer.whole())
            yield answer.events()

    def cache_view(self, resource: Resource) -> CacheView | None:
        return None

    async def close(self) -> None:
        """Every request closes its own connection."""

    @asynccontextmanager
    async def _answer(self, call: Call) -> AsyncIterator[_Answer]:
        target = f"{call.path}?{urlencode(call.query)}" if call.query else call.path
        body = b"" if call.body is None else orjson.dumps(call.body)
        about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = (
            f"{call.method} {target} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAccept: application/json\r\n"
            f"User-Agent: {self._user_agent}\r\n{about}Connection: close\r\n\r\n"
        )
        writer: asyncio.StreamWriter | None = None
        try:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    context = self._credentials.context() if self._credentials else None
                    reader, writer = await asyncio.open_connection(
                        self._host, self._port, ssl=context, limit=_READ_BYTES
                    )
                    writer.write(head.encode("ascii") + body)
                    answer = await _read_head(call, reader)
            except (OSError, TimeoutError, EOFError, ValueError) as error:
                raise _unavailable(call, error) from error
            yield answer
        finally:
            if writer is not None:
                # Not to be waited for: a peer that is gone answers no farewell.
                writer.transport.abort()


async def _read_head(call: Call, reader: asyncio.StreamReader) -> _Answer:
    """Raises ValueError for what is not HTTP."""
    line = (await _line(reader)).split(None, 2)
    if len(line) < 2 or not line[0].startswith(b"HTTP/1.") or not line[1].isdigit():
        raise ValueError("malformed HTTP response")
    length, chunked = -1, False
    for _ in range(_MAX_HEADERS):
        name, _, value = (await _line(reader)).partition(b":")
        if not name:
            return _Answer(call, reader, int(line[1]), length, chunked)
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        elif name.lower() == b"transfer-encoding":
            chunked = value.strip().lower() == b"chunked"
    raise ValueError("malformed HTTP response")


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    if len(line) > _MAX_LINE_BYTES:
        raise ValueError("malformed HTTP response")
    return line.rstrip(b"\r\n")


class _Answer:
    """The head of an answer, and its body while the connection lasts."""

    def __init__(self, call: Call, reader: asyncio.StreamReader, status: int, length: int, chunked: bool) -> None:
        self.status = status
        self._call = call
        self._reader = reader
        self._length = length
        self._chunked = chunked

    async def whole(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in self._parts():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise ServiceUnavailable(f"{self._call.method} {self._call.path}: the answer is too long")
        return b"".join(parts)

    async def events(self) -> AsyncIterator[WatchEvent]:
        """One event a line; a line cut short by the end of the connection is dropped: it will come again."""
        pending: list[bytes] = []
        size = 0
        async for part in self._parts():
            first, *others = part.split(b"\n")
            pending.append(first)
            size += len(first)
            if size > MAX_EVENT_BYTES:
                raise ServiceUnavailable(f"{self._call.method} {self._call.path}: an event is too long")
            for other in others:
                line = b"".join(pending)
                pending, size = [other], len(other)
                if line.strip():
                    yield _event(line)

    async def _parts(self) -> AsyncIterator[bytes]:
        try:
            if self._chunked:
                while (size := await self._chunk_size()) > 0:
                    async for part in self._read(size):
                        yield part
                    await self._timed(_line(self._reader))
            elif self._length >= 0:
                async for part in self._read(self._length):
                    yield part
            else:
                while part := await self._timed(self._reader.read(_READ_BYTES)):
                    yield part
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            raise _unavailable(self._call, error) from error

    async def _chunk_size(self) -> int:
        return int((await self._timed(_line(self._reader))).split(b";")[0], 16)

    async def _read(self, size: int) -> AsyncIterator[bytes]:
        while size > 0:
            part = await self._timed(self._reader.read(min(size, _READ_BYTES)))
            if not part:
                raise EOFError
            size -= len(part)
            yield part

    @staticmethod
    async def _timed(reading: Any) -> bytes:
        async with asyncio.timeout(WATCH_SILENCE_SECONDS):
            data: bytes = await reading
            return data


def _unavailable(call: Call, error: BaseException) -> ServiceUnavailable:
    words = "i/o timeout" if isinstance(error, TimeoutError) else cause(error)
    return ServiceUnavailable(f"{call.method} {call.path}: {words}")


def _event(line: bytes) -> WatchEvent:
    value = _decoded(line)
    kind, obj = (value.get("type"), value.get("object")) if isinstance(value, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(obj, dict):
        raise BadRequest("the server sent something that is no watch event")
    return WatchEvent(kind, obj)  # type: ignore[arg-type]  # the wire's own words


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("the server's answer is not JSON") from None


def _error(code: int, body: bytes) -> ApiError:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"message": f"HTTP {code}"}
    return from_status(code, status)
