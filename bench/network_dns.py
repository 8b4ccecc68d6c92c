"""The cluster's DNS under load, beside dnsmasq in the same run: rate, latency, memory.

    python bench/network_dns.py [--queries 200000] [--services 1000] [--window 64] [--rounds 3]

Both know the same names and listen on loopback; each in turn gets the same questions from one generator, so many at a
time (``--window``), as often as there are rounds; the median counts. What is asked is what pods ask: a third of the
questions are names as they are, the rest are the misses of the search path before them (``web.default.svc...`` is first
asked for below the pod's namespace), and some are for the other family. The server is the DNS process of a node
(``sampan.network.dns.program``) with its names out of its file, as when the API server is away. Generator and server
share the machine: "CPU" (of the server alone, a question) travels better than the rate. dnsmasq comes from Debian
(``apt-get install dnsmasq-base``); without it the row is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOMAIN = "cluster.local"
A, AAAA, SRV = 1, 28, 33
_SOCKETS = 8
#: A question that has no answer by then is lost; each server is to lose none.
_PATIENCE_SECONDS = 5.0


def services(count: int) -> list[tuple[str, str, str]]:
    """(name, namespace, address)"""
    return [(f"web{n}", f"team{n % 20}", f"10.96.{n // 250 + 1}.{n % 250 + 1}") for n in range(count)]


def questions(count: int, known: list[tuple[str, str, str]]) -> list[bytes]:
    chance = random.Random(1)
    made: dict[tuple[str, int], bytes] = {}
    found = []
    while len(found) < count:
        name, namespace, _ = chance.choice(known)
        own = chance.randrange(20)
        asked = [(f"{name}.{namespace}.team{own}.svc.{DOMAIN}", A), (f"{name}.{namespace}.svc.{DOMAIN}", A)]
        if chance.random() < 0.5:
            asked = [each for name, _ in asked for each in ((name, A), (name, AAAA))]
        if chance.random() < 0.05:
            asked.append((f"_http._tcp.{name}.{namespace}.svc.{DOMAIN}", SRV))
        for each in asked:
            if each not in made:
                labels = b"".join(bytes((len(label),)) + label.encode() for label in each[0].split("."))
                made[each] = struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", each[1], 1)
            found.append(made[each])
    return found[:count]


@dataclass(frozen=True)
class Measured:
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mib: float
    lost: int


def measure(port: int, asked: list[bytes], window: int, process: int) -> Measured:
    """Keeps ``window`` questions under way."""
    cards = []
    for _ in range(_SOCKETS):
        card = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        card.connect(("127.0.0.1", port))
        cards.append(card)
    poller = select.epoll()
    by_number = {card.fileno(): card for card in cards}
    for card in cards:
        poller.register(card, select.EPOLLIN)
    took: list[float] = []
    under_way: dict[bytes, float] = {}
    clock = time.perf_counter
    cpu, began, sent = _cpu_seconds(process), clock(), 0
    total, done = len(asked), 0
    while done < total:
        while sent < total and len(under_way) < window:
            number = (sent & 0xFFFF).to_bytes(2, "big")
            under_way[number] = clock()
            cards[sent % _SOCKETS].send(number + asked[sent])
            sent += 1
        ready = poller.poll(_PATIENCE_SECONDS)
        if not ready:
            break
        for number_of, _ in ready:
            card = by_number[number_of]
            while True:
                try:
                    answer = card.recv(4096)
                except BlockingIOError:
                    break
                start = under_way.pop(answer[:2], None)
                if start is not None:
                    took.append(clock() - start)
                    done += 1
    seconds = clock() - began
    cpu = _cpu_seconds(process) - cpu
    for card in cards:
        card.close()
    poller.close()
    took.sort()
    return Measured(
        done / seconds, took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3,
        cpu / done * 1e6, _memory_mib(process), total - done,
    )  # fmt: skip


def _cpu_seconds(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@contextmanager
def sampan(folder: Path, known: list[tuple[str, str, str]]) -> Iterator[tuple[int, int]]:
    """(port, process)"""
    port = free_port()
    command = [sys.executable, __file__, "--serve", str(folder), "--port", str(port), "--services", str(len(known))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _until_answered(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def dnsmasq(folder: Path, known: list[tuple[str, str, str]]) -> Iterator[tuple[int, int]]:
    port, hosts, options = free_port(), folder / "hosts", folder / "dnsmasq.conf"
    hosts.write_text("".join(f"{address} {name}.{space}.svc.{DOMAIN}\n" for name, space, address in known))
    lines = [
        f"srv-host=_http._tcp.{name}.{space}.svc.{DOMAIN},{name}.{space}.svc.{DOMAIN},80" for name, space, _ in known
    ]
    options.write_text("\n".join(lines))
    process = subprocess.Popen(
        ["dnsmasq", "--keep-in-foreground", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces",
         "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", f"--local=/{DOMAIN}/", f"--conf-file={options}",
         "--user=root", "--cache-size=10000", f"--pid-file={folder / 'pid'}"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until_answered(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _until_answered(port: int) -> None:
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0\4web0\5team0\3svc\7cluster\5local\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.settimeout(0.1)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                card.sendto(query, ("127.0.0.1", port))
                answer = card.recv(4096)
                if answer[6:8] == b"\0\1":
                    return
                time.sleep(0.05)
    raise SystemExit("the server does not answer")


def serve(folder: Path, port: int, count: int) -> None:
    """The DNS process of a node, with the names of its file: nothing listens where its API server is to be."""
    from sampan.network.dns import program
    from sampan.network.dns.config import DnsConfig, ProcessConfig
    from sampan.network.dns.known import Known
    from sampan.network.dns.records import NamedPort, NamedService
    from sampan.network.dns.snapshot import Snapshot

    known = Known()
    for number in range(20):
        known.put_namespace(f"team{number}")
    for name, namespace, address in services(count):
        known.put_service(NamedService(namespace, name, (address,), (NamedPort("http", "tcp", 80),)))
    asyncio.run(Snapshot(folder / "names", known).write())
    del known
    nowhere = folder / "none"
    program.run(
        ProcessConfig(
            dns=DnsConfig(address="127.0.0.1", port=port, domain=DOMAIN, dns_ip=""),
            server=f"https://127.0.0.1:{free_port()}",
            ca=nowhere,
            certificate=nowhere,
            key=nowhere,
            snapshot=folder / "names",
            health_socket=folder / "dns.sock",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=200_000)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port, options.services)
        return
    known = services(options.services)
    asked = questions(options.queries, known)
    print(f"{options.queries:,} questions, {options.window} at a time, {options.services:,} Services")
    print(f"{'':10} {'queries/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'MiB':>6} {'lost':>6}")
    makers = {"sampan": sampan} | ({"dnsmasq": dnsmasq} if shutil.which("dnsmasq") else {})
    for name, maker in makers.items():
        with tempfile.TemporaryDirectory() as folder, maker(Path(folder), known) as (port, process):
            rounds = [measure(port, asked, options.window, process) for _ in range(options.rounds)]
            alone = measure(port, asked[:5000], 1, process)
        middle = {
            key: statistics.median(getattr(each, key) for each in rounds) for key in Measured.__dataclass_fields__
        }
        print(
            f"{name:10} {middle['rate']:10,.0f} {middle['p50_ms']:8.3f} {middle['p99_ms']:8.3f}"
            f" {middle['cpu_us']:8.1f} {middle['memory_mib']:6.1f} {sum(each.lost for each in rounds):6}"
        )
        print(f"{'  one by one':12} {alone.rate:8,.0f} {alone.p50_ms:8.3f} {alone.p99_ms:8.3f}")


if __name__ == "__main__":
    main()
