"""Metrics of a program of this machine, which tells them at a socket of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

ANSWER_SECONDS = 5.0
_MOST_BYTES = 32 * 1024 * 1024
_REQUEST = b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"


async def metrics_of(socket: Path) -> bytes | None:
    """Prometheus' text; None: the program does not run, or does not answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(_REQUEST)
                found = bytearray()
                while len(found) < _MOST_BYTES and (more := await reader.read(1 << 18)):
                    found += more
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    head, _, body = bytes(found).partition(b"\r\n\r\n")
    return body if b" 200 " in head.partition(b"\r\n")[0] else None
