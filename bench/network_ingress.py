"""Ingress under load: requests a second and latency, beside bare HAProxy and nginx in the same run.

    python bench/network_ingress.py [--seconds 5] [--connections 64] [--rounds 3] [--ingresses 1000] [--paced 500]

A back end of nginx's (one worker, answers from memory) stands behind each in turn: nothing ("direct"), HAProxy with the
shortest configuration that does it, nginx as a reverse proxy, and Sampan's data plane with one Ingress and with many
(each with a host and three paths of its own; one is asked). wrk is the load, as often as there are rounds; the median
counts. "CPU" is that of the proxy, a request. Then what changes cost while it serves the many: an endpoint, a
certificate, a rule. Last, requests at a given pace, each measured from when it was due, first with nothing else and
then while all of it changes again and again, the keeper of the program among it: none may fail.
Needs Debian's haproxy, nginx and wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.edge.certificates import self_signed
from sampan.edge.haproxy.dataplane import DataPlane
from sampan.edge.haproxy.program import Program, running
from sampan.edge.haproxy.render import Settings
from sampan.edge.model import (
    Backend,
    Certificate,
    Endpoint,
    Listener,
    Match,
    Owner,
    PathMatch,
    Plane,
    Route,
    VirtualHost,
    Weighted,
)

HOST = "h1.example"
OWNER = Owner("networking.k8s.io/v1", "Ingress", "default", "web")


@dataclass(frozen=True)
class Measured:
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(*words: str, port: int) -> Iterator[int]:
    """A program that stays in the foreground; its pid."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.01)
    sys.exit(f"nothing listens on port {port}")


def nginx(place: Path, server: str, name: str) -> list[str]:
    text = f"""daemon off; pid {place}/{name}.pid; error_log /dev/null; worker_processes 1;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {place}; proxy_temp_path {place};
fastcgi_temp_path {place}; uwsgi_temp_path {place}; scgi_temp_path {place}; {server} }}
"""
    (place / f"{name}.conf").write_text(text)
    return ["nginx", "-c", str(place / f"{name}.conf")]


def haproxy(place: Path, port: int, behind: int) -> list[str]:
    text = f"""global
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind 127.0.0.1:{port}
  default_backend web
backend web
  server one 127.0.0.1:{behind}
"""
    (place / "bare.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(place / "bare.cfg")]


def cpu_seconds(pid: int) -> float:
    """Of a process and of its children that run."""
    found = 0.0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = entry.read_text().rpartition(")")[2].split()
            if int(entry.parent.name) == pid or int(words[1]) == pid:
                found += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return found


def load(port: int, pid: int, options: argparse.Namespace) -> Measured:
    seen = []
    asked = ("--latency", "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/a/b")
    for _ in range(options.rounds):
        before = cpu_seconds(pid)
        done = subprocess.run(
            ["wrk", "-t2", f"-c{options.connections}", f"-d{options.seconds}s", *asked],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        used = cpu_seconds(pid) - before
        if "Non-2xx" in done or "Socket errors" in done:
            sys.exit(done)
        total = int(re.search(r"(\d+) requests in", done)[1])  # type: ignore[index]
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1])  # type: ignore[index]
        seen.append(Measured(rate, _latency(done, "50%"), _latency(done, "99%"), used / total * 1e6))
    return Measured(*(statistics.median(getattr(each, name) for each in seen) for name in Measured.__annotations__))


def _latency(text: str, share: str) -> float:
    value, unit = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def plane(port: int, endpoints: tuple[Endpoint, ...], count: int, certificate: Certificate | None = None) -> Plane:
    hosts = []
    for number in range(1, count + 1):
        backend = Backend(f"default/web{number}:80", endpoints)
        owner = Owner("networking.k8s.io/v1", "Ingress", "default", f"web{number}")
        routes = tuple(
            Route(f"{number}{path}", owner, Match(PathMatch("prefix", path)), (Weighted(backend),))
            for path in ("/", "/a", "/static")
        )
        hosts.append(VirtualHost(f"h{number}.example", routes))
    listeners = [Listener("http", port, "http", "127.0.0.1", tuple(hosts))]
    if certificate is not None:
        listeners.append(Listener("https", port + 1, "https", "127.0.0.1", tuple(hosts), (certificate,)))
    return Plane(tuple(listeners))


@contextlib.asynccontextmanager
async def ours(place: Path, log: bool) -> AsyncIterator[tuple[DataPlane, Program]]:
    program = Program(place / "edge", place / "run", place / "edge.log")
    settings = Settings(
        str(program.files), str(program.run), "bench", threads=min(os.cpu_count() or 1, 4), connections=4000,
        ipv6=False, default_certificate=self_signed(2026), access_log=log,
    )  # fmt: skip
    made = DataPlane(program, settings)
    try:
        yield made, program
    finally:
        await made.end()


def _certificate() -> Certificate:
    pem = self_signed(2026)
    end = pem.index("-----BEGIN PRIVATE KEY")
    return Certificate("default/tls", pem[:end], pem[end:], (HOST,))


async def changes(made: DataPlane, port: int, behind: int, count: int) -> dict[str, float]:
    """Milliseconds until the program does it."""
    found: dict[str, float] = {}

    async def timed(name: str, work: object) -> None:
        began = time.perf_counter()
        await work  # type: ignore[misc]
        found[name] = (time.perf_counter() - began) * 1000

    one, two = Endpoint("127.0.0.1", behind), Endpoint("127.0.0.2", behind)
    await made.apply(plane(port, (one,), count, _certificate()))
    await timed("an endpoint", made.move({"default/web1:80": (one, two)}))
    await timed("a certificate", made.apply(plane(port, (one,), count, _certificate())))
    await timed("a rule", made.apply(plane(port, (one,), count + 1, _certificate())))
    return found


#: of the paced load
WORKERS = 32


async def generate(port: int, rate: float, seconds: float) -> None:
    """The paced load, as a program of its own: half of it by TLS. Prints latencies in milliseconds and failures."""
    tickets = iter(range(int(rate * seconds)))
    took: list[float] = []
    failures: list[str] = []
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    request = f"GET /a/b HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def work(number: int) -> None:
        writer: asyncio.StreamWriter | None = None
        for ticket in tickets:
            due = began + ticket / rate
            await asyncio.sleep(due - loop.time())
            try:
                if writer is None:
                    way: dict[str, Any] = {"ssl": tls, "server_hostname": HOST} if number % 2 else {}
                    reader, writer = await asyncio.open_connection("127.0.0.1", port + number % 2, **way)
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                took.append((loop.time() - due) * 1000)
                if head.split()[1] != b"200":
                    failures.append(head.split(b"\r\n")[0].decode())
                if b"connection: close" in head:
                    writer.close()
                    writer = None
            except (OSError, EOFError) as error:
                failures.append(repr(error))
                writer = None

    async with asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(work(number))
    took.sort()
    print(json.dumps({"took": took[:: max(1, len(took) // 1000)], "answered": len(took), "failures": failures}))


@dataclass(frozen=True)
class Paced:
    """``rounds``: how often everything changed meanwhile."""

    name: str
    answered: int
    failures: list[str]
    took_ms: list[float]
    rounds: int

    def share(self, part: float) -> float:
        return self.took_ms[min(int(len(self.took_ms) * part), len(self.took_ms) - 1)]


async def paced(place: Path, port: int, behind: int, options: argparse.Namespace, *, changing: bool) -> Paced:
    one, two = Endpoint("127.0.0.1", behind), Endpoint("127.0.0.2", behind)
    certificates = (_certificate(), _certificate())
    async with ours(place, True) as (made, program):
        await made.apply(plane(port, (one,), 10, certificates[0]))
        load = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--generate", str(port), "--paced", str(options.paced), "--paced-seconds",
            str(options.paced_seconds), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        waiting = asyncio.create_task(load.communicate())
        keeper, rounds = made, 0
        while not waiting.done():
            if not changing:
                await asyncio.wait([waiting])
                break
            rounds += 1
            await keeper.move({"default/web1:80": (one, two)})
            await keeper.move({"default/web1:80": (dataclasses.replace(one, draining=True), two)})
            await keeper.move({"default/web1:80": (two,)})
            await keeper.apply(plane(port, (two,), 10, certificates[rounds % 2]))
            await keeper.apply(plane(port, (one, two), 10 + rounds % 2, certificates[rounds % 2]))
            # As when the node process is killed: another one goes on with the program.
            keeper = DataPlane(Program(program.directory, program.run, program.log), made._settings)
            await keeper.apply(plane(port, (one,), 10, certificates[rounds % 2]))
            await asyncio.wait([waiting], timeout=0.5)
        told = json.loads((await waiting)[0])
        await keeper.end()
    name = "everything changes" if changing else "nothing changes"
    return Paced(name, told["answered"], told["failures"], told["took"], rounds)


async def run(options: argparse.Namespace) -> None:
    rows: list[tuple[str, Measured]] = []
    with tempfile.TemporaryDirectory(prefix="bench-ingress-") as text:
        place = Path(text)
        behind, front = free_port(), free_port()
        both = "".join(f"listen {address}:{behind} backlog=4096; " for address in ("127.0.0.1", "127.0.0.2"))
        answer = nginx(place, f"server {{ {both}return 200 'hello'; }}", "behind")
        with started(*answer, port=behind) as pid:
            if options.only_paced:
                show_paced(
                    [await paced(place, front, behind, options, changing=each) for each in (False, True)], options
                )
                return
            rows.append(("direct", load(behind, pid, options)))
            with started(*haproxy(place, front, behind), port=front) as bare:
                rows.append(("HAProxy, bare", load(front, bare, options)))
            reverse = (
                f"upstream web {{ server 127.0.0.1:{behind}; keepalive 64; }} server {{ listen 127.0.0.1:{front}; "
                "location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ''; } }"
            )
            with started(*nginx(place, reverse, "front"), port=front) as bare:
                rows.append(("nginx, bare (one worker)", load(front, bare, options)))
            endpoints = (Endpoint("127.0.0.1", behind),)
            for count, log in ((1, False), (1, True), (options.ingresses, True)):
                async with ours(place, log) as (made, program):
                    await made.apply(plane(front, endpoints, count))
                    (pid,) = running(program.files)
                    name = f"Sampan, {count:,} Ingress{'es' if count > 1 else ''}{'' if log else ', no access log'}"
                    rows.append((name, await asyncio.to_thread(load, front, pid, options)))
            costs: dict[int, dict[str, float]] = {}
            for count in (10, options.ingresses):
                async with ours(place, True) as (made, _):
                    costs[count] = await changes(made, front, behind, count)
            at_pace = [await paced(place, front, behind, options, changing=changing) for changing in (False, True)]
    print(f"{'':34}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}")
    for name, seen in rows:
        print(f"{name:34}{seen.rate:>12,.0f}{seen.p50_ms:>9.2f}{seen.p99_ms:>9.2f}{seen.cpu_us:>9.1f}")
    print(f"\n{'a change, ms':34}" + "".join(f"{f'of {count:,}':>12}" for count in costs))
    for name in next(iter(costs.values())):
        print(f"{name:34}" + "".join(f"{cost[name]:>12.1f}" for cost in costs.values()))
    show_paced(at_pace, options)


def show_paced(at_pace: list[Paced], options: argparse.Namespace) -> None:
    title = f"{options.paced} requests/s, half by TLS"
    print(f"\n{title:34}{'answered':>12}{'failed':>9}{'p50 ms':>9}{'p99 ms':>9}{'changes':>9}")
    for each in at_pace:
        print(
            f"{each.name:34}{each.answered:>12,}{len(each.failures):>9}{each.share(0.5):>9.2f}{each.share(0.99):>9.2f}"
            f"{each.rounds * 6:>9}"
        )
    if failures := [text for each in at_pace for text in each.failures]:
        sys.exit(f"{len(failures)} requests failed: {failures[:5]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ingresses", type=int, default=1000)
    parser.add_argument("--paced", type=int, default=500, help="requests a second")
    parser.add_argument("--paced-seconds", type=int, default=20)
    parser.add_argument("--only-paced", action="store_true")
    parser.add_argument("--generate", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate:
        asyncio.run(generate(options.generate, options.paced, options.paced_seconds))
    else:
        asyncio.run(run(options))


if __name__ == "__main__":
    main()
