"""A node agent's API on loopback, in plain HTTP, that answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sampan.server.resourcemetrics.nodeclient import Address


def answer(body: bytes, *more: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Agent:
    """``answers``: what it sends for one request after the other, the last one again and again; None: nothing at all.
    After an answer with ``Connection: close`` it closes, and after one that ``hangs_up`` holds it does so silently."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: list[bytes | None] = []
        self.hangs_up = False
        self.asked: list[str] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        while self._open:
            task, writer = self._open.popitem()
            writer.transport.abort()
            if task is not None:
                await task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._open[task] = writer
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.split(b" ")[1].decode())
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if said is None:
                    await reader.read()
                    return
                writer.write(said)
                await writer.drain()
                if self.hangs_up or b"Connection: close" in said:
                    return
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()
            self._open.pop(task, None)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    made = Agent()
    await made.start()
    yield made
    await made.stop()
