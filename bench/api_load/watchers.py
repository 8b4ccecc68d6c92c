"""Many watches in a process of their own, which counts lines and decodes nothing; and writes in bursts.

The process is told how many events to wait for and answers when they are there: a change goes out only when every
watcher has the one before.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import resource
import socket
import ssl
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, cast

import uvloop

from api_load.generator import READ_BUFFER
from api_load.target import Target


class Counts:
    def __init__(self) -> None:
        self.events = self.bytes = self.lost = self.opened = 0
        self.wanted = 0
        self.reached: asyncio.Event = asyncio.Event()

    def add(self, events: int, size: int) -> None:
        self.events += events
        self.bytes += size
        if self.events >= self.wanted:
            self.reached.set()


class OneWatch(asyncio.BufferedProtocol):
    """An event is a line that ends an object; the line ends of heads and chunks follow a carriage return."""

    def __init__(self, request: bytes, counts: Counts) -> None:
        self._request, self._counts = request, counts
        self._last = b""
        self._head = b""
        self._in_body = False
        self.open = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._read(bytes(READ_BUFFER[:nbytes]))

    def _read(self, data: bytes) -> None:
        if not self._in_body:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self.open.set_exception(RuntimeError(f"a watch was refused: {self._head[:600]!r}"))
                return
            self._in_body, self._head = True, b""
            self.open.set_result(None)
            if not data:
                return
        events = data.count(b"}\n") + (self._last == b"}" and data[:1] == b"\n")
        self._last = data[-1:]
        self._counts.add(events, len(data))

    def connection_lost(self, error: Exception | None) -> None:
        self._counts.lost += 1
        if not self.open.done():
            self.open.set_exception(ConnectionError("a watch was closed before it began"))

    def close(self) -> None:
        self._transport.close()


async def _serve(pipe: Connection) -> None:
    loop, counts = asyncio.get_running_loop(), Counts()
    watches: list[OneWatch] = []
    while True:
        command, *arguments = await receive(pipe)
        if command == "open":
            target, path, how_many = arguments
            context, make = target.context(), functools.partial(OneWatch, target.request("GET", path), counts)
            for _ in range(how_many):
                _, watch = await loop.create_connection(make, *target.address, ssl=context)
                await watch.open
                watches.append(watch)
            pipe.send(None)
        elif command == "wait":
            counts.wanted = arguments[0]
            counts.reached.clear()
            if counts.events < counts.wanted:
                await asyncio.wait_for(counts.reached.wait(), 60)
            pipe.send(None)
        elif command == "counts":
            pipe.send((counts.events, counts.bytes, counts.lost, time.process_time()))
        else:
            for watch in watches:
                watch.close()
            return


async def receive(pipe: Connection) -> Any:
    """The next object from a pipe, without a thread."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(pipe.fileno(), ready.set)
    await ready.wait()
    loop.remove_reader(pipe.fileno())
    os.set_blocking(pipe.fileno(), True)  # uvloop made it otherwise, and an object may come in parts
    return pipe.recv()


def _child(pipe: Connection) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    uvloop.run(_serve(pipe))


class Watchers:
    """``with Watchers() as watchers: watchers.open(target, path, 200)``."""

    def __enter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_child, args=(theirs,))
        self._process.start()
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._pipe.send(("stop",))
        except BrokenPipeError:
            pass
        self._process.join()

    def open(self, target: Target, path: str, how_many: int) -> None:
        self._ask("open", target, path, how_many)

    def wait(self, events: int) -> None:
        """Until that many events have come, all watches together, ever since."""
        self._ask("wait", events)

    def counts(self) -> tuple[int, int, int, float]:
        """(events, bytes, watches that were closed, CPU seconds)"""
        answer: tuple[int, int, int, float] = self._ask("counts")
        return answer

    def _ask(self, *command: Any) -> Any:
        self._pipe.send(command)
        return self._pipe.recv()


class Burst:
    """Some plain connections, on which requests leave at the same moment: what they change may fall into one tick."""

    def __init__(self, target: Target, how_many: int) -> None:
        context = target.context()
        self._sockets: list[ssl.SSLSocket] = [
            context.wrap_socket(socket.create_connection(target.address, timeout=60)) for _ in range(how_many)
        ]
        for connection in self._sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, requests: list[bytes]) -> None:
        """Returns when all are answered. Raises RuntimeError for an answer that is not 2xx."""
        for connection, request in zip(self._sockets, requests, strict=True):
            connection.sendall(request)
        for connection in self._sockets:
            answer = b""
            while not _whole(answer):
                data = connection.recv(65536)
                if not data:
                    raise RuntimeError(f"a writer's connection was closed: {answer[:300]!r}")
                answer += data
            if not answer.startswith(b"HTTP/1.1 20"):
                raise RuntimeError(f"a write was refused: {answer[:600]!r}")

    def close(self) -> None:
        for connection in self._sockets:
            connection.close()


def _whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    return bool(separator) and (len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n"))
