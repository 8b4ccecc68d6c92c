"""What a Service costs: its packets by each back end beside a direct connection, a change, and the first answer.

    python bench/network.py [--count 2000] [--many 10000]      # as root; takes about three minutes

Network namespaces stand for a node and its pods (those of tests/network), clients and servers are processes of their
own. Nothing of a cluster is needed. ``network_dns.py`` and others of its name measure the other parts.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS / "network"), str(TESTS / "client")]

VIP, PORT, TARGET_PORT = "10.96.0.20", 80, 8080
SECONDS = 2.0
CHUNK = 256 * 1024
Obj = dict[str, Any]


# Processes of their own, on the standard library alone


def serve(address: str) -> None:
    """Says a byte for a byte, and takes everything from who says 'x' first; a child for each connection."""
    server = socket.create_server((address, TARGET_PORT), backlog=1024)
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork():
            connection.close()
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (data := connection.recv(CHUNK)) and data[:1] != b"x":
            connection.sendall(data)
        while data and connection.recv(CHUNK):
            pass
        os._exit(0)


def ask(address: str, port: int, count: int) -> None:
    """Prints microseconds of a connection, of a question on an open one, and megabytes a second."""
    connects = []
    for _ in range(count // 10):
        began = time.perf_counter()
        with socket.create_connection((address, port)) as connection:
            connects.append(time.perf_counter() - began)
            connection.sendall(b".")
            connection.recv(1)
    turns = []
    with socket.create_connection((address, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter()
            connection.sendall(b".")
            connection.recv(1)
            turns.append(time.perf_counter() - began)
    sent = 0
    with socket.create_connection((address, port)) as connection:
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < SECONDS:
            sent += connection.send(b"x" * CHUNK)
    figures = [statistics.median(connects) * 1e6, statistics.median(turns) * 1e6, _p99(turns) * 1e6, sent / took / 1e6]
    print(*figures)


def first(address: str, port: int) -> None:
    """Prints the clock's time of the first answer to each line that it reads."""
    for _ in sys.stdin:
        while True:
            try:
                with socket.create_connection((address, port), timeout=0.05) as connection:
                    connection.sendall(b".")
                    if connection.recv(1):
                        print(time.monotonic(), flush=True)
                        break
            except OSError:
                continue


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


# The bench itself


class Bench:
    def __init__(self, lab: Any, count: int) -> None:
        from sampan.network.proxy.config import ProxyConfig

        self.lab = lab
        self.count = count
        self.config = ProxyConfig(
            instance="bench",
            node_name="node1",
            node_address="192.0.2.1",
            node_pod_cidr="10.244.0.0/24",
            cluster_pod_cidr="10.244.0.0/16",
            health_address="127.0.0.1",
        )

    async def process(self, where: str, *arguments: object, stdin: int | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.lab.command(where), sys.executable, __file__, *map(str, arguments),
            stdin=stdin, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def figures(self, address: str, port: int) -> list[float]:
        client = await self.process("pod3", "--ask", address, port, self.count)
        out, _ = await client.communicate()
        return [float(word) for word in out.split()]

    @asynccontextmanager
    async def backend(self, mode: str, program: bool = False) -> AsyncIterator[Any]:
        from sampan.network.proxy.iptables.backend import IptablesBackend
        from sampan.network.proxy.iptables.restore import IptablesTables, remove
        from sampan.network.proxy.nftables.backend import NftBackend
        from sampan.network.proxy.nftables.nft import NftCommand
        from sampan.network.proxy.rules.values import Op, Table
        from sampan.network.proxy.userspace.backend import UserspaceBackend

        node = self.lab.command("node")
        if mode == "iptables":
            made: Any = IptablesBackend(self.config, IptablesTables("bench", (4,), node))
        else:
            nft = NftCommand(self.config.table, node) if program else self.lab.nft(self.config.table)
            made = NftBackend(self.config, nft)
        if mode == "userspace":
            made = UserspaceBackend(self.config, made, self._in_node)
        try:
            yield made
        finally:
            await made.close()
            if mode == "iptables":
                await remove("bench", node)
            else:
                await NftCommand(self.config.table, node).apply([Op("delete", Table())])

    def _in_node(self, family: int, kind: int) -> socket.socket:
        with self.lab.inside("node"):
            return socket.socket(family, kind)

    async def packets(self) -> None:
        print(
            "| to one endpoint | a connection, µs | a question on it, µs (p99) | one stream, MB/s |\n|---|---|---|---|"
        )
        direct = await self.figures("10.244.0.2", TARGET_PORT)
        print(row("directly", direct))
        for mode in ("nftables", "iptables", "userspace"):
            async with self.backend(mode) as backend:
                plan = service(0, VIP, ["10.244.0.2"])
                backend.plan(plan.key, plan)
                await backend.apply()
                print(row(f"by {mode}", await self.figures(VIP, PORT)), flush=True)

    async def changes(self, many: int, iptables_many: int) -> None:
        print(
            "\n| one endpoint comes or goes, of Services | 10 | many | all of many written at once |\n|---|---|---|---|"
        )
        for name, mode, program, count in (
            ("nftables, our own messages", "nftables", False, many),
            ("nftables, the nft program", "nftables", True, many),
            ("iptables", "iptables", False, iptables_many),
        ):
            few, _ = await self.change(mode, program, 10)
            much, whole = await self.change(mode, program, count)
            print(f"| {name} | {few * 1e3:.2f} ms | {much * 1e3:.2f} ms ({count:,}) | {whole:.1f} s |", flush=True)

    async def change(self, mode: str, program: bool, count: int) -> tuple[float, float]:
        """Seconds of the median change, and of the first writing."""
        async with self.backend(mode, program) as backend:
            for number in range(count):
                plan = service(number, *some(number, 3))
                backend.plan(plan.key, plan)
            whole = await timed(backend.apply)
            took = []
            for turn in range(41):
                plan = service(3, *some(3, 2 + turn % 2))
                backend.plan(plan.key, plan)
                took.append(await timed(backend.apply))
            return statistics.median(took), whole

    async def first_answers(self, others: int) -> None:
        import fake_api
        import network_objects as make

        from sampan.api.resources import ENDPOINT_SLICES, SERVICES
        from sampan.client import tasks
        from sampan.client.client import Client
        from sampan.client.informer import InformerFactory
        from sampan.network.proxy.proxy import ServiceProxy

        api = fake_api.FakeApi()
        for number in range(others):
            ip, ends = some(number, 3)
            api.add(SERVICES, make.service(f"s{number}", ip))
            api.add(ENDPOINT_SLICES, make.endpoint_slice(f"s{number}", [make.endpoint(end) for end in ends]))
        client = Client(api)
        waiting = await self.process("pod3", "--first", VIP, PORT, stdin=asyncio.subprocess.PIPE)
        assert waiting.stdin and waiting.stdout
        async with self.backend("nftables") as backend:
            factory, started = InformerFactory(client), asyncio.Event()
            proxy = ServiceProxy(factory, dataclasses.replace(self.config, bridge=""), backend)
            jobs = [tasks.detach(factory.run(), "informers"), tasks.detach(proxy.run(started), "proxy")]
            await started.wait()
            took = []
            for _ in range(15):
                waiting.stdin.write(b"\n")
                await asyncio.sleep(0.3)  # it is asking in vain meanwhile
                began = time.monotonic()
                api.add(SERVICES, make.service("first", VIP))
                api.add(ENDPOINT_SLICES, make.endpoint_slice("first", [make.endpoint("10.244.0.2")]))
                took.append(float(await waiting.stdout.readline()) - began)
                api.remove(SERVICES, "default", "first")
                api.remove(ENDPOINT_SLICES, "default", "first-x")
                await proxy.settled()
            waiting.stdin.close()
            await waiting.wait()
            await tasks.cancel_and_wait(*jobs)
        print(
            f"\nFirst answer after a Service and its EndpointSlice are there, beside {others:,} others: "
            f"{statistics.median(took) * 1e3:.1f} ms (most {max(took) * 1e3:.1f})."
        )


def some(number: int, endpoints: int) -> tuple[str, list[str]]:
    """A cluster address and addresses of endpoints."""
    ip = f"10.{97 + number // 60000}.{number // 250 % 250}.{number % 250 + 1}"
    return ip, [f"10.244.{(number * 7 + n) // 250 % 250}.{(number * 7 + n) % 250 + 1}" for n in range(endpoints)]


def service(number: int, ip: str, endpoints: list[str]) -> Any:
    import network_objects as make

    from sampan.network.proxy.endpoints import Place
    from sampan.network.proxy.plan import plan_service

    name = f"s{number}"
    slices = [make.endpoint_slice(name, [make.endpoint(end) for end in endpoints])]
    return plan_service(make.service(name, ip), slices, Place("node1"))


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def row(name: str, figures: list[float]) -> str:
    connect, turn, worst, rate = figures
    return f"| {name} | {connect:.0f} | {turn:.0f} ({worst:.0f}) | {rate:,.0f} |"


async def run(count: int, many: int, iptables_many: int) -> None:
    import network_lab

    lab = network_lab.Lab("bench")
    lab.open()
    try:
        bench = Bench(lab, count)
        print(f"{date.today()}, {os.cpu_count()} processors, Linux {os.uname().release}\n")
        server = await bench.process("pod1", "--serve", "10.244.0.2")
        assert server.stdout
        await server.stdout.readline()
        try:
            await bench.packets()
            await bench.first_answers(0)
            await bench.first_answers(many // 10)
        finally:
            server.kill()
            await server.wait()
        await bench.changes(many, iptables_many)
    finally:
        lab.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="questions on one connection")
    parser.add_argument("--many", type=int, default=10_000, help="Services of a large cluster")
    parser.add_argument("--iptables-many", type=int, default=1_000, help="the same, by iptables")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--first", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
    elif given.ask:
        ask(given.ask[0], int(given.ask[1]), int(given.ask[2]))
    elif given.first:
        first(given.first[0], int(given.first[1]))
    else:
        asyncio.run(run(given.count, given.many, given.iptables_many))


if __name__ == "__main__":
    main()
