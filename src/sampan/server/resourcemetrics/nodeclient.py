"""Asks one node agent for a text, over a connection that is kept: HTTP/1.1 by TLS, a GET at a time.

An HTTP library would cost a server some ten megabytes for one header and one body every ten seconds. Everything is
bounded in bytes; the caller bounds it in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Final

from sampan.records import dataclass

HEAD_BYTES: Final = 64 << 10
BODY_BYTES: Final = 8 << 20
_CHUNKS_AT_ONCE: Final = 64
_TRAILERS: Final = 16


class NoAnswer(Exception):
    """The node did not answer, or nothing that can be used; the message says what it did instead."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


class NodeClient:
    """For one task. ``close`` it in the end."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._to: Address | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, address: Address, path: str) -> str:
        """The body of a 200. Raises NoAnswer; cancelled or not, the connection stays usable or is closed."""
        kept = self._streams is not None and self._to == address
        try:
            return await self._exchange(address, path)
        except _Closed as error:
            if not kept:
                raise NoAnswer(str(error)) from error
        try:  # an idle connection may be closed at any moment, and that is no failure
            return await self._exchange(address, path)
        except _Closed as error:
            raise NoAnswer(str(error)) from error

    async def _exchange(self, address: Address, path: str) -> str:
        """Raises _Closed, NoAnswer."""
        whole = False
        try:
            reader, writer = await self._connected(address)
            host = f"[{address.host}]" if ":" in address.host else address.host
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {host}:{address.port}\r\nAccept: text/plain\r\n"
                "User-Agent: sampan-metrics\r\n\r\n".encode()
            )
            await writer.drain()
            status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
            body = await _read_body(reader, headers)
            whole = "close" not in headers.get("connection", "").lower()
        except (EOFError, ConnectionError) as error:
            raise _Closed("the connection was closed") from error
        except (OSError, asyncio.LimitOverrunError, ValueError) as error:
            raise NoAnswer(_fault(error)) from error
        finally:
            if not whole:
                self.close()
        if status != 200:
            raise NoAnswer(f"it answers {path} with {status}")
        return body.decode("utf-8", "replace")

    async def _connected(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._to != address:
            self.close()
            self._streams = await asyncio.open_connection(address.host, address.port, ssl=self._tls, limit=HEAD_BYTES)
            self._to = address
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            with contextlib.suppress(OSError):
                self._streams[1].transport.abort()
            self._streams = None


class _Closed(Exception):
    pass


def _fault(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or "the connection failed"
    return "its answer is no HTTP, or too long"


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Raises ValueError."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    version, code, *_ = f"{first} ".split(" ", 2)
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise ValueError
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(code), headers


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Raises ValueError, and what streams raise."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    size = _size(headers.get("content-length", "").encode(), 10)
    if size > BODY_BYTES:
        raise ValueError
    return await reader.readexactly(size)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Raises as ``_read_body``."""
    body = bytearray()
    chunks = 0
    while size := _size((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if len(body) + size > BODY_BYTES:
            raise ValueError
        body += (await reader.readexactly(size + 2))[:-2]
        chunks += 1
        if not chunks % _CHUNKS_AT_ONCE:
            await asyncio.sleep(0)  # what has come already is read without waiting
    for _ in range(_TRAILERS + 1):
        if await reader.readuntil(b"\r\n") == b"\r\n":
            return bytes(body)
    raise ValueError


def _size(digits: bytes, base: int) -> int:
    """Raises ValueError."""
    text = digits.strip()
    if not 0 < len(text) <= 9 or not text.isalnum():
        raise ValueError
    return int(text, base)
