"""Measures the API server: start, GETs, creates, lists and watch fan-out over TLS and keep-alive connections.

``python bench/api.py [--connections N] [--seconds S] [--store memory|sqlite]``. The server runs in its own process; the
client is this one, as thin as it can be, so that two cores measure the server and not the client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import uvloop

from sampan.server.app import Server
from sampan.server.config import ServerConfig

_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def run_server(pipe: Connection, folder: Path, store: str) -> None:
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
            pipe.send((server.address, time.perf_counter() - started))
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


async def measure(
    name: str, address: tuple[str, int], make: Callable[[], bytes], connections: int, seconds: float
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    made = [
        await loop.create_connection(lambda: OneConnection(make, started + seconds), *address, ssl=context)
        for _ in range(connections)
    ]
    protocols = [protocol for _, protocol in made]
    await asyncio.gather(*(protocol.done for protocol in protocols))
    elapsed = time.perf_counter() - started
    latencies = sorted(itertools.chain.from_iterable(protocol.latencies for protocol in protocols))
    failures = sum(protocol.failures for protocol in protocols)
    p50, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
    print(f"{name:<22}{len(latencies) / elapsed:>10.0f}/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   failed {failures}")


async def measure_all(address: tuple[str, int], connections: int, seconds: float) -> None:
    numbers = itertools.count()

    def config_map() -> bytes:
        number = next(numbers)
        return request("POST", _CONFIG_MAPS, f'{{"metadata":{{"name":"cm-{number}"}},"data":{{"key":"value"}}}}')

    pod_body = (
        '{"metadata":{"generateName":"p-","labels":{"app":"x"}},"spec":{"serviceAccountName":"x",'
        '"automountServiceAccountToken":false,"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]}}'
    )
    account = request("POST", "/api/v1/namespaces/default/serviceaccounts", '{"metadata":{"name":"x"}}')
    await measure("create a taken name", address, lambda: account, 1, 0.2)
    await measure("create ConfigMap", address, config_map, connections, seconds)
    await measure(
        "create Pod",
        address,
        lambda: request("POST", "/api/v1/namespaces/default/pods", pod_body),
        connections,
        seconds,
    )
    await measure("GET ConfigMap", address, lambda: request("GET", f"{_CONFIG_MAPS}/cm-1"), connections, seconds)
    await measure("GET, one connection", address, lambda: request("GET", f"{_CONFIG_MAPS}/cm-1"), 1, seconds)
    await measure("list 500 ConfigMaps", address, lambda: request("GET", f"{_CONFIG_MAPS}?limit=500"), 4, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--store", choices=("memory", "sqlite"), default="memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        make_certificate(folder)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=run_server, args=(theirs, folder, options.store))
        process.start()
        stack.callback(process.join)
        address, seconds = ours.recv()
        stack.callback(ours.send, "stop")
        print(f"started in {seconds * 1000:.0f} ms (after imports), store {options.store}")
        uvloop.run(measure_all(address, options.connections, options.seconds))


if __name__ == "__main__":
    main()
