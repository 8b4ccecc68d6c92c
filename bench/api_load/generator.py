"""The load generator of requests: some connections, one request after another on each, in a process of its own.

It reads of an answer only its status and where it ends. It reads the server's CPU clock itself, so that handshakes and
preparations stay out of the figures.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from api_load import measure
from api_load.measure import Latency, Row
from api_load.target import Target


@dataclass(frozen=True, slots=True)
class Step:
    """``{n}`` in path and body counts up. An unmeasured step belongs to the load, not to the figures."""

    method: str
    path: str
    body: str = ""
    content_type: str = "application/json"
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """Each connection goes round the steps. Ends after ``seconds``, or with number ``first + count``."""

    steps: tuple[Step, ...]
    connections: int = 32
    seconds: float = 3.0
    first: int = 0
    count: int | None = None
    #: numbers in paths begin again here
    modulo: int = 0
    #: what each connection GETs first, uncounted
    warm_up: str = ""


@dataclass
class Tally:
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0.0
    failed: int = 0
    first_failure: bytes = b""


#: One buffer for all: what is read is looked at before the loop goes on. Without it uvloop allocates 256 KiB a read.
READ_BUFFER = memoryview(bytearray(256 * 1024))


class OneConnection(asyncio.BufferedProtocol):
    """Sends when told to, tells its future when the answer has ended."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._tail = b""
        self._chunked = False
        self.failed = False
        self.answer = b""
        self.bytes = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> asyncio.Future[None]:
        self.done = asyncio.get_running_loop().create_future()
        if self.lost:
            self._end()
        else:
            self._transport.write(request)
        return self.done

    def get_buffer(self, sizehint: int) -> memoryview:
        return READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes += nbytes
        if self._left > nbytes:
            self._left -= nbytes
        else:
            self._read(bytes(READ_BUFFER[:nbytes]))

    def _read(self, data: bytes) -> None:
        if self._chunked:
            self._tail = (self._tail + data)[-7:] if len(data) < 7 else data[-7:]
            if self._tail == b"\r\n0\r\n\r\n":
                self._end()
        elif self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._end()
        else:
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        self._head += data
        head, separator, body = self._head.partition(b"\r\n\r\n")
        if not separator:
            return
        self.failed, self.answer, self._head = not head.startswith(b"HTTP/1.1 20"), head + b" " + body[:400], b""
        length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        if length:
            self._left = int(length) - len(body)
            if self._left <= 0:
                self._end()
        else:
            self._chunked, self._tail = True, body[-7:]
            if self._tail.endswith(b"0\r\n\r\n"):
                self._end()

    def _end(self) -> None:
        self._left, self._chunked, self._tail = 0, False, b""
        if not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = self.failed = True
        if hasattr(self, "done"):
            self._end()

    def close(self) -> None:
        self._transport.close()


async def connect(target: Target, how_many: int) -> list[OneConnection]:
    context, loop = target.context(), asyncio.get_running_loop()
    made = [await loop.create_connection(OneConnection, *target.address, ssl=context) for _ in range(how_many)]
    return [protocol for _, protocol in made]


async def _drive(
    target: Target, job: Job, connection: OneConnection, numbers: Iterator[int], deadline: float, tally: Tally
) -> None:
    requests = [(step, target.request(step.method, step.path, step.body, step.content_type)) for step in job.steps]
    changing = {step: "{n}" in step.path + step.body for step in job.steps}
    # Reading the clock of another process costs a system call: only where it must be.
    each_cpu = not all(step.measured for step in job.steps)
    for step, request in itertools.cycle(requests):
        number = next(numbers)
        sent = time.perf_counter()
        if sent >= deadline or (job.count is not None and number >= job.first + job.count):
            return
        if changing[step]:
            path = step.path.replace("{n}", str(number % job.modulo if job.modulo else number))
            request = target.request(step.method, path, step.body.replace("{n}", str(number)), step.content_type)
        cpu = measure.cpu_seconds(target.pids) if each_cpu else 0.0
        await connection.send(request)
        if step.measured:
            tally.latencies.append(time.perf_counter() - sent)
            if each_cpu:
                tally.cpu += measure.cpu_seconds(target.pids) - cpu
        if connection.failed:
            tally.failed += 1
            tally.first_failure = tally.first_failure or connection.answer
            if connection.lost:
                return


async def _run(target: Target, name: str, what: str, job: Job) -> Row:
    connections = await connect(target, job.connections)
    if job.warm_up:
        for connection in connections:
            await connection.send(target.request("GET", job.warm_up))
    received = sum(connection.bytes for connection in connections)
    tally, numbers = Tally(), itertools.count(job.first)
    started, cpu, own = time.perf_counter(), measure.cpu_seconds(target.pids), time.process_time()
    deadline = started + job.seconds
    await asyncio.gather(*(_drive(target, job, connection, numbers, deadline, tally) for connection in connections))
    seconds, own = time.perf_counter() - started, time.process_time() - own
    if all(step.measured for step in job.steps):
        tally.cpu = measure.cpu_seconds(target.pids) - cpu
    else:
        seconds = sum(tally.latencies)
    received = sum(connection.bytes for connection in connections) - received
    for connection in connections:
        connection.close()
    row = Row(
        name=name, what=what, count=len(tally.latencies), seconds=seconds, cpu=tally.cpu if target.pids else None,
        client_cpu=own, failed=tally.failed, generator=f"uvloop, {job.connections} conn.", server=target.name,
        latency=Latency.of(tally.latencies),
    )  # fmt: skip
    if tally.failed:
        row.notes.append(tally.first_failure.decode(errors="replace"))
    row.extra["kB each"] = received / max(row.count, 1) / 1000
    return row


def _child(pipe: Connection, target: Target, name: str, what: str, job: Job) -> None:
    pipe.send(uvloop.run(_run(target, name, what, job)))


def run(target: Target, name: str, what: str, job: Job) -> Row:
    """In a process of its own, which is gone afterwards."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_child, args=(theirs, target, name, what, job))
    process.start()
    theirs.close()
    try:
        row: Row = ours.recv()
    finally:
        process.join()
    return row
