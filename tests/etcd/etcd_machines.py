"""Three members of etcd on machines of their own: network namespaces beside one bridge, each with a small disk.

A machine can be cut off (its link goes down), its disk filled, its member killed or paused. Needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from etcd_members import Member, Members, program_or_skip

DISK_MIB = 220  # two segments of the log, 64 MiB each, are there from the first moment


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Machine(Member):
    def __init__(self, number: int, tag: str, subnet: str, directory: Path) -> None:
        super().__init__(f"m{number}", directory / f"m{number}", 2379, 2380, host=f"{subnet}.{number + 1}")
        self.space = f"{tag}-m{number}"
        self.link = f"{tag}v{number}"
        self.address = f"{subnet}.{number + 1}"

    def command(self, members: list[Member], program: str) -> list[str]:
        return ["ip", "netns", "exec", self.space, *super().command(members, program)]

    def make(self, bridge: str) -> None:
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", self.link, "master", bridge, "up")
        for words in (("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            run("ip", "-n", self.space, *words)
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        self.directory.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(self.directory))

    def cut(self) -> None:
        run("ip", "link", "set", self.link, "down")

    def join(self) -> None:
        run("ip", "link", "set", self.link, "up")

    def fill_disk(self) -> None:
        with contextlib.suppress(OSError), (self.directory / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)

    def free_disk(self) -> None:
        (self.directory / "filler").unlink(missing_ok=True)

    def remove(self) -> None:
        self.send(signal.SIGCONT)
        self.kill()
        subprocess.run(["umount", str(self.directory)], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.space], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self.link], check=False, capture_output=True)


class Machines(Members):
    def __init__(self, directory: Path, count: int = 3) -> None:
        if os.geteuid() != 0:
            pytest.skip("machines of their own are network namespaces, which need root")
        self.program = program_or_skip()
        self.directory = directory
        tag = f"se{os.getpid() % 100_000}"
        subnet = f"10.{200 + os.getpid() % 16}.{os.getpid() // 16 % 250}"
        self.bridge = f"{tag}b"
        self.subnet = subnet
        self.machines = [Machine(number, tag, subnet, directory) for number in range(count)]
        self.all = list(self.machines)

    def make(self) -> None:
        run("ip", "link", "add", self.bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        run("ip", "addr", "add", f"{self.subnet}.254/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for machine in self.machines:
            machine.make(self.bridge)
            self.start(machine)
        self.wait_ready()

    def stop(self) -> None:
        for machine in self.machines:
            machine.remove()
        subprocess.run(["ip", "link", "del", self.bridge], check=False, capture_output=True)


@asynccontextmanager
async def running_machines(directory: Path) -> AsyncIterator[Machines]:
    machines = Machines(directory)
    try:
        await asyncio.to_thread(machines.make)
        yield machines
    finally:
        await asyncio.to_thread(machines.stop)
