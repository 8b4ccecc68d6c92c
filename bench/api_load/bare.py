"""What the parts cost without a server around them: the peers of the rows, taken in the same run.

Each answers the same generators, in a process of its own, on uvloop with TLS as the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import multiprocessing
import sqlite3
import ssl
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, cast

import uvloop

from api_load import watchers
from api_load.measure import Row
from api_load.target import Target

HTTPTOOLS = importlib.util.find_spec("httptools") is not None


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


class Echo(asyncio.BufferedProtocol):
    """Parses each request with httptools and answers bytes made beforehand.

    Buffered, because uvloop allocates 256 KiB for every read of a plain protocol over TLS: glibc maps and unmaps that
    each time, which costs 60 µs a request until something as large was freed once (or always, where
    ``MALLOC_TRIM_THRESHOLD_`` is set, as in an instance's processes).
    """

    buffer = bytearray(65536)

    def __init__(self, answer: bytes) -> None:
        import httptools

        self._parser = httptools.HttpRequestParser(self)
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._parser.feed_data(memoryview(self.buffer)[:nbytes])

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_message_complete(self) -> None:
        self._transport.write(self._answer)


def _echo(pipe: Connection, folder: Path, body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: Echo(answer), "127.0.0.1", 0, ssl=_context(folder))
        pipe.send(listener.sockets[0].getsockname()[:2])
        await asyncio.to_thread(pipe.recv)

    uvloop.run(main())


class Sink(asyncio.Protocol):
    """A watcher's connection: answers a head, then waits to be written to."""

    made: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.made.append(self._transport)


def _push(pipe: Connection, folder: Path, event: bytes) -> None:
    """Writes the event so many times, in one write, to all connections, whenever told how many times."""

    async def main() -> None:
        listener = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, ssl=_context(folder))
        pipe.send(listener.sockets[0].getsockname()[:2])
        while (times := await watchers.receive(pipe)) is not None:
            data = event * times
            for transport in Sink.made:
                transport.write(data)

    uvloop.run(main())


@contextlib.contextmanager
def _process(run: Any, *arguments: Any) -> Iterator[tuple[Target, Connection]]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=run, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        address = ours.recv()
        yield Target("bare", address, (process.pid or 0,)), ours
    finally:
        with contextlib.suppress(BrokenPipeError):
            ours.send(None)
        process.join()


def echo(folder: Path, body: bytes) -> contextlib.AbstractContextManager[tuple[Target, Connection]]:
    """``body`` is what a GET of the server under test answers, so that the same bytes are encrypted."""
    return _process(_echo, folder, body)


def push(folder: Path, event: bytes) -> contextlib.AbstractContextManager[tuple[Target, Connection]]:
    return _process(_push, folder, event)


def sqlite(folder: Path) -> list[Row]:
    """Durable rows of 1 kB: one a transaction, and a hundred."""
    rows = []
    database = sqlite3.connect(folder / "peer.db", isolation_level=None)
    database.executescript("pragma journal_mode=wal; pragma synchronous=full; create table t (k text, v blob)")
    for size in (1, 20, 100):
        started, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < 1:
            database.execute("begin immediate")
            database.executemany("insert into t values (?, ?)", [("key", b"x" * 1000)] * size)
            database.execute("commit")
            count += size
        rows.append(
            Row(
                name="bare-sqlite",
                what=f"bare SQLite, {size} a commit",
                count=count,
                server="bare",
                seconds=time.perf_counter() - started,
                cpu=time.process_time() - cpu,
            )
        )
    database.close()
    (folder / "peer.db").unlink()
    return rows
