"""Members of etcd as children of a benchmark, every write durable on the disk that the folder is on."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]


class Members:
    def __init__(self, folder: Path, count: int) -> None:
        ports = _ports(2 * count)
        self.endpoints = tuple(f"127.0.0.1:{port}" for port in ports[:count])
        peers = [f"http://127.0.0.1:{port}" for port in ports[count:]]
        initial = ",".join(f"m{at}={peer}" for at, peer in enumerate(peers))
        self.processes = []
        for at, (endpoint, peer) in enumerate(zip(self.endpoints, peers, strict=True)):
            urls = ("--listen-client-urls", f"http://{endpoint}", "--advertise-client-urls", f"http://{endpoint}")
            peering = ("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", initial)
            where = ("--name", f"m{at}", "--data-dir", str(folder / f"m{at}"), "--log-level", "error")
            self.processes.append(subprocess.Popen(["etcd", *where, *urls, *peering], stderr=subprocess.DEVNULL))

    def wait(self) -> None:
        for endpoint in self.endpoints:
            while True:
                try:
                    with urllib.request.urlopen(f"http://{endpoint}/health", timeout=5) as answer:
                        if json.load(answer)["health"] == "true":
                            break
                except (OSError, ValueError):
                    pass
                time.sleep(0.05)


@contextlib.contextmanager
def members(folder: Path, count: int = 1) -> Iterator[Members]:
    folder.mkdir(parents=True, exist_ok=True)
    made = Members(folder, count)
    try:
        made.wait()
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()
