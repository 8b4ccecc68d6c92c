"""API server and scheduler as processes of their own, for ``scheduler_perf.py --apart``: what each takes is told apart.

    python bench/scheduler_processes.py FOLDER URL        the scheduler, until its input ends

The API server is that of ``api.py`` (TLS, RBAC, store in memory), the scheduler what ``sampan scheduler`` runs, without
an election. Certificates are an administrator's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop
from api_load import measure
from api_load.sampan_server import SampanServer

from sampan.api.clock import SystemClock
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.scheduler.scheduler import run_scheduler

#: what no controller is there for: tokens of accounts, taints of nodes that nobody reports of
DISABLED = "ServiceAccount,TaintNodesByCondition"


def client(folder: Path, url: str) -> Client:
    read = lambda name: (folder / name).read_bytes()  # noqa: E731
    connection = Connection(
        url, ca_pem=read("ca.crt"), client_certificate_pem=read("admin.crt"), client_key_pem=read("admin.key")
    )
    return Client(HttpTransport(connection, user_agent="kube-scheduler"))


@dataclass(frozen=True)
class Processes:
    """``seconds`` and ``mib``: of a processor and of memory, by what runs there."""

    folder: Path
    url: str
    pids: dict[str, int]

    def client(self) -> Client:
        return client(self.folder, self.url)

    def seconds(self) -> dict[str, float]:
        return {name: measure.cpu_seconds([pid]) for name, pid in self.pids.items()}

    def mib(self) -> float:
        return measure.resident_mib(self.pids.values())


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    """Both, until the block ends."""
    with tempfile.TemporaryDirectory() as home, SampanServer(Path(home), "memory", disabled=DISABLED) as server:
        url = f"https://{server.address[0]}:{server.address[1]}"
        command = [sys.executable, __file__, home, url]
        scheduler = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert scheduler.stdin is not None and scheduler.stdout is not None
        try:
            if not scheduler.stdout.readline():
                raise RuntimeError(f"the scheduler ended with {scheduler.wait()}")
            yield Processes(Path(home), url, {"server": server.pid, "scheduler": scheduler.pid})
        finally:
            scheduler.stdin.close()
            scheduler.wait()
            scheduler.stdout.close()


async def schedule(folder: Path, url: str) -> None:
    started, speaking = asyncio.Event(), client(folder, url)
    running = tasks.detach(
        run_scheduler(speaking, clock=SystemClock(), random=random.Random(1), started=started), "scheduler"
    )
    waiting = tasks.detach(started.wait(), "its start")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await tasks.cancel_and_wait(running, waiting)
    await speaking.close()


if __name__ == "__main__":
    uvloop.run(schedule(Path(sys.argv[1]), sys.argv[2]))
