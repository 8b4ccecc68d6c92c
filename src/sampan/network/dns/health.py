"""Health and metrics of the DNS process, by HTTP on a Unix socket: ``/healthz``, ``/readyz``, ``/metrics``.

Whoever watches over the process asks with a deadline: one that hangs does not answer. Bounded like all that listens.
Pods ask the DNS server itself (``server``), which answers them by the same words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from sampan.api.faults import cause
from sampan.client import tasks

log = logging.getLogger(__name__)

_REQUEST_BYTES = 8192
_SECONDS = 5.0
_CONNECTIONS = 16

#: Status code and text for a path.
Respond = Callable[[str], tuple[int, str]]


class HealthSocket:
    def __init__(self, path: Path, respond: Respond) -> None:
        self._path = path
        self._respond = respond
        self._open = 0

    async def run(self) -> None:
        """Until cancelled. Replaces what a predecessor left at the path."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, self._path, limit=_REQUEST_BYTES)
        try:
            self._path.chmod(0o600)
            await tasks.forever()
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS:
                async with asyncio.timeout(_SECONDS):
                    writer.write(answer(await reader.readuntil(b"\r\n\r\n"), self._respond))
                    await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            log.debug("a question about health was not finished: %s", cause(error))
        finally:
            self._open -= 1
            writer.close()


def answer(head: bytes, respond: Respond) -> bytes:
    """To a request of HTTP, of which ``head`` is all that counts. Pure but for ``respond``."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or words[0] != b"GET":
        code, text = 400, "only GET is served here\n"
    else:
        code, text = respond(words[1].decode("latin-1").split("?")[0])
    body = text.encode()
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}.get(code, "Service Unavailable")
    return (
        f"HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body
