"""Members of an etcd cluster as child processes of a test: started, killed, paused, each with a directory of its own.

Which program: ``etcd`` of the PATH (Debian's package ``etcd-server``), or what SAMPAN_TEST_ETCD names.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

PROGRAM = os.environ.get("SAMPAN_TEST_ETCD", "etcd")


def program_or_skip() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        pytest.skip("etcd is not installed (Debian's package etcd-server; scripts/setup does it)")
    return found


def free_ports(count: int) -> list[int]:
    """Bound at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Member:
    def __init__(self, name: str, directory: Path, client_port: int, peer_port: int, host: str = "127.0.0.1") -> None:
        self.name = name
        self.directory = directory
        self.endpoint = f"{host}:{client_port}"
        self.peer = f"http://{host}:{peer_port}"
        self.arguments: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, members: list[Member], program: str) -> list[str]:
        return [
            *(program, "--name", self.name, "--data-dir", str(self.directory / "data")),
            *("--listen-client-urls", f"http://{self.endpoint}", "--advertise-client-urls", f"http://{self.endpoint}"),
            *("--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer),
            *("--initial-cluster", ",".join(f"{each.name}={each.peer}" for each in members)),
            *("--log-level", "error", *self.arguments),
        ]

    def start(self, members: list[Member], program: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine.replace("aarch64", "arm64")}
        with (self.directory.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(members, program), stdout=log, stderr=log, env=environment)

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Members:
    def __init__(self, directory: Path, count: int) -> None:
        self.program = program_or_skip()
        self.directory = directory
        ports = free_ports(2 * count)
        self.all = [Member(f"m{at}", directory / f"m{at}", ports[2 * at], ports[2 * at + 1]) for at in range(count)]

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.endpoint for member in self.all)

    def start(self, member: Member) -> None:
        member.start(self.all, self.program)

    def stop(self) -> None:
        for member in self.all:
            member.send(signal.SIGCONT)
            member.kill()

    def wait_ready(self) -> None:
        """Blocks until every member has a leader and answers."""
        pause = threading.Event()
        for member in self.all:
            for _ in range(800):
                try:
                    with urllib.request.urlopen(f"http://{member.endpoint}/health", timeout=5) as answer:
                        if json.load(answer)["health"] == "true":
                            break
                except (OSError, ValueError):
                    pass
                if member.process is not None and member.process.poll() is not None:
                    raise AssertionError(f"etcd ended:\n{self.logs()}")
                pause.wait(0.05)
            else:
                raise AssertionError(f"etcd did not become ready:\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.directory.glob("*.log")))


@asynccontextmanager
async def running(directory: Path, count: int = 1, *, arguments: tuple[str, ...] = ()) -> AsyncIterator[Members]:
    members = Members(directory, count)
    for member in members.all:
        member.arguments = arguments
    try:
        for member in members.all:
            members.start(member)
        await asyncio.to_thread(members.wait_ready)
        yield members
    finally:
        await asyncio.to_thread(members.stop)
