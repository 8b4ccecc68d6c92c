"""A transport without an API server behind it, and a client that sees every byte.

Everything runs on both event loops: uvloop, as the server is run, and asyncio's own, as tests run it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from sampan.server.http import HttpServer, Limits


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Answer:
    status: int
    version: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Client:
    """One connection. Names of headers are lower case in answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *lines: str, body: bytes = b"") -> None:
        """The request line and headers, without Host."""
        head = "".join(f"{line}\r\n" for line in (lines[0], "Host: x", *lines[1:]))
        self.writer.write(head.encode() + b"\r\n" + body)

    async def head(self) -> Answer:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        return Answer(int(status), version, headers)

    async def answer(self, *, without_body: bool = False) -> Answer:
        """The next answer, read to its end as its head says."""
        answer = await self.head()
        if without_body:
            return answer
        if "chunked" in answer.headers.get("transfer-encoding", ""):
            answer.body = b"".join([chunk async for chunk in self.chunks()])
        elif "content-length" in answer.headers:
            answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        else:
            answer.body = await self.reader.read()
        return answer

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            chunk = await self.reader.readexactly(size + 2)
            if not size:
                return
            yield chunk[:-2]

    async def ask(self, *lines: str, body: bytes = b"") -> Answer:
        self.send(*lines, body=body)
        return await self.answer(without_body=lines[0].startswith("HEAD"))

    async def ended(self) -> bool:
        """Waits for the server to end the connection."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@dataclass
class Served:
    server: HttpServer
    address: tuple[str, int]
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection(*self.address, limit=4 * 1024 * 1024))
        self.clients.append(client)
        return client


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(handler, **limits)``"""
    made: list[Served] = []

    async def start(handler: Any, **limits: Any) -> Served:
        server = HttpServer(handler, limits=Limits(**limits))
        served = Served(server, await server.start("127.0.0.1", 0))
        made.append(served)
        return served

    yield start
    for served in made:
        for client in served.clients:
            client.writer.close()
        await served.server.close(1.0)
        assert not served.server.connections
