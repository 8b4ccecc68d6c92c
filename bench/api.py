"""Measures the API server: GETs, creates, lists and watch fan-out over TLS and keep-alive connections.

``python bench/api.py [--connections N] [--seconds S] [--store memory|sqlite]``. The server runs in its own process; the
client is this one, as thin as it can be, so that two cores measure the server and not the client. ``CPU`` is what the
server's process used for a request: unlike the rate, it says the same on a busy machine. The last rows are peers: what
a bare aiohttp server, and SQLite without a server, do in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import sqlite3
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import uvloop
from aiohttp import web

from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.cluster import footprint
from sampan.server.app import Server
from sampan.server.config import ServerConfig

_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def run_server(pipe: Connection, folder: Path, store: str) -> None:
    footprint.start_quickly()

    async def main() -> None:
        started = time.perf_counter()
        config = ServerConfig(
            bind_address="127.0.0.1",
            port=0,
            tls_cert=folder / "tls.crt",
            tls_key=folder / "tls.key",
            store="sqlite" if store == "sqlite" else "memory",
            data_dir=folder,
            authorization_modes=("AlwaysAllow",),
        )
        async with Server(config) as server:
            footprint.settle()  # as in a cluster
            pipe.send((server.address, time.perf_counter() - started))
            await asyncio.to_thread(pipe.recv)
            pipe.send(await measure_in_process(server))
            await asyncio.to_thread(pipe.recv)

    uvloop.run(main())


async def measure_in_process(server: Server) -> list[tuple[str, int, float, float]]:
    """What a controller pays: creates and reads without a socket. (name, how many, seconds, CPU seconds)"""
    client = Client(server.local_transport())
    results = []

    async def creates(first: int) -> None:
        for number in range(first, first + 250):
            body = {"metadata": {"name": f"local-{number}", "namespace": "default"}, "data": {"key": "value"}}
            await client.create(CONFIG_MAPS, body)

    async def gets(_first: int) -> None:
        for _ in range(250):
            await client.get(CONFIG_MAPS, "local-0", "default")

    for name, work in (("create in process", creates), ("GET in process", gets)):
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(first) for first in range(0, 8000, 250)))
        results.append((name, 8000, time.perf_counter() - started, time.process_time() - cpu))
    return results


def run_hello(pipe: Connection, folder: Path, _store: str) -> None:
    """The peer: the same library answering a fixed body, with nothing behind it."""
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"cm-1"},"data":{"key":"value"}}\n'

    async def hello(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    async def main() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(web.Server(hello, access_log=None), "127.0.0.1", 0, ssl=context)
        pipe.send((listener.sockets[0].getsockname()[:2], 0.0))
        await asyncio.to_thread(pipe.recv)

    uvloop.run(main())


def make_certificate(folder: Path) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost "
        f"-keyout {folder}/tls.key -out {folder}/tls.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)


class OneConnection(asyncio.Protocol):
    """Sends one request after another until the deadline; reads only as much of the answer as it must."""

    def __init__(self, make: Callable[[], bytes], deadline: float) -> None:
        self._make, self._deadline = make, deadline
        self._left = 0
        self._head = b""
        self.done = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._deadline:
            self._transport.close()
            return
        self._transport.write(self._make())

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            head, separator, body = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self.failures += not head.startswith(b"HTTP/1.1 20")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self._head, self._left = b"", length - len(body)
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self.latencies.append(time.perf_counter() - self._sent)
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def request(method: str, path: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}".encode()


def cpu_seconds(pid: int) -> float:
    """What a process used so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(name: str, count: int, seconds: float, cpu: float, rest: str = "") -> None:
    print(f"{name:<24}{count / seconds:>9.0f}/s {cpu / max(count, 1) * 1e6:>7.0f} µs CPU   {rest}")


@dataclass(frozen=True, slots=True)
class Target:
    address: tuple[str, int]
    pid: int


async def measure(name: str, target: Target, make: Callable[[], bytes], connections: int, seconds: float) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    started, cpu = time.perf_counter(), cpu_seconds(target.pid)
    made = [
        await loop.create_connection(lambda: OneConnection(make, started + seconds), *target.address, ssl=context)
        for _ in range(connections)
    ]
    protocols = [protocol for _, protocol in made]
    await asyncio.gather(*(protocol.done for protocol in protocols))
    elapsed, cpu = time.perf_counter() - started, cpu_seconds(target.pid) - cpu
    latencies = sorted(itertools.chain.from_iterable(protocol.latencies for protocol in protocols))
    failures = sum(protocol.failures for protocol in protocols)
    p50, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
    report(name, len(latencies), elapsed, cpu, f"p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   failed {failures}")


async def measure_fan_out(target: Target, watchers: int, changes: int) -> None:
    """One writer, many watches of the same resource: how many events arrive."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    readers = []
    for _ in range(watchers):
        reader, writer = await asyncio.open_connection(*target.address, ssl=context)
        writer.write(request("GET", f"{_CONFIG_MAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name!=x"))
        await reader.readuntil(b"\r\n\r\n")
        readers.append((reader, writer))

    async def follow(reader: asyncio.StreamReader) -> None:
        while b'"last"' not in await reader.readline():
            pass

    _, writer = await asyncio.open_connection(*target.address, ssl=context)
    started, cpu = time.perf_counter(), cpu_seconds(target.pid)
    for number in range(changes):
        name = "last" if number == changes - 1 else f"fan-{number}"
        writer.write(request("POST", _CONFIG_MAPS, f'{{"metadata":{{"name":"{name}"}}}}'))
    await asyncio.gather(*(follow(reader) for reader, _ in readers))
    report("events to watchers", watchers * changes, time.perf_counter() - started, cpu_seconds(target.pid) - cpu)
    for _, open_writer in [*readers, (None, writer)]:
        open_writer.close()


async def measure_all(target: Target, connections: int, seconds: float) -> None:
    numbers = itertools.count()

    def config_map() -> bytes:
        number = next(numbers)
        return request("POST", _CONFIG_MAPS, f'{{"metadata":{{"name":"cm-{number}"}},"data":{{"key":"value"}}}}')

    pod_body = (
        '{"metadata":{"generateName":"p-","labels":{"app":"x"}},"spec":{"serviceAccountName":"x",'
        '"automountServiceAccountToken":false,"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]}}'
    )
    account = request("POST", "/api/v1/namespaces/default/serviceaccounts", '{"metadata":{"name":"x"}}')
    pod, get = request("POST", "/api/v1/namespaces/default/pods", pod_body), request("GET", f"{_CONFIG_MAPS}/cm-1")
    page = request("GET", f"{_CONFIG_MAPS}?limit=500")
    await measure("(a ServiceAccount)", target, lambda: account, 1, 0.05)
    await measure("create ConfigMap", target, config_map, connections, seconds)
    await measure("create, one connection", target, config_map, 1, seconds)
    await measure("create Pod", target, lambda: pod, connections, seconds)
    await measure("GET ConfigMap", target, lambda: get, connections, seconds)
    await measure("GET, one connection", target, lambda: get, 1, seconds)
    await measure("list 500 ConfigMaps", target, lambda: page, 4, seconds)


def measure_sqlite(folder: Path) -> None:
    """The peer of creates: SQLite itself, one durable transaction for each row, and one for a hundred."""
    database = sqlite3.connect(folder / "peer.db", isolation_level=None)
    database.executescript("pragma journal_mode=wal; pragma synchronous=full; create table t (k text, v blob)")
    for rows in (1, 100):
        started, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < 1:
            database.execute("begin immediate")
            database.executemany("insert into t values (?, ?)", [("key", b"x" * 200)] * rows)
            database.execute("commit")
            count += rows
        report(f"raw SQLite, {rows} a commit", count, time.perf_counter() - started, time.process_time() - cpu)
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--store", choices=("memory", "sqlite"), default="sqlite")
    parser.add_argument("--profile-pause", action="store_true", help="wait before measuring, to attach a profiler")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        make_certificate(folder)

        def start(run: Callable[[Connection, Path, str], None]) -> tuple[Target, float, Connection]:
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=run, args=(theirs, folder, options.store))
            process.start()
            stack.callback(process.join)
            address, seconds = ours.recv()
            stack.callback(ours.send, "stop")
            return Target(address, process.pid or 0), seconds, ours

        target, seconds, pipe = start(run_server)
        print(f"started in {seconds * 1000:.0f} ms (after imports), store {options.store}, process {target.pid}")
        if options.profile_pause:
            input("enter to go on")
        uvloop.run(measure_all(target, options.connections, options.seconds))
        uvloop.run(measure_fan_out(target, 50, 200))
        pipe.send("in process")
        for row in pipe.recv():
            report(*row)
        hello, _, _ = start(run_hello)
        get = request("GET", "/")
        uvloop.run(measure("bare aiohttp GET", hello, lambda: get, options.connections, options.seconds))
        measure_sqlite(folder)


if __name__ == "__main__":
    main()
