"""The programs of a machine, each started by itself with the command of its systemd unit, in orders by lot.

Where systemd is not there, this does by hand what it would do: it starts them, and again when they end.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import eventually
from machines_lab import OWN, Machine, Machines

#: how many orders are tried, and from where
ORDERS, SEED = int(os.environ.get("SAMPAN_ORDERS", "1")), int(os.environ.get("SAMPAN_SEED", "1"))
#: of a program that ended, until it is started again, as its unit says
RESTART_SECONDS = 1.0


class Services:
    """Keeps commands running as systemd does with ``Restart=always``."""

    def __init__(self, machine: Machine, commands: dict[str, list[str]]) -> None:
        self.machine, self.commands = machine, commands
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ended: dict[str, float] = {}
        self.log = (machine.home / "services.log").open("wb")

    def start(self, name: str) -> None:
        self.running[name] = subprocess.Popen(
            [*self.machine.prefix, *self.commands[name]],
            stdout=self.log,
            stderr=self.log,
            env=self.machine.env,
            cwd="/",
        )

    def look(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                self.ended.setdefault(name, time.monotonic())
                if time.monotonic() - self.ended[name] > RESTART_SECONDS:
                    del self.ended[name]
                    self.start(name)
                    return

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
        self.log.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One machine with a control plane that ``init`` made, and that is stopped."""
    made = Machines(tmp_path, 1, kind=OWN)
    made.wire()
    one = made[1]
    try:
        one.sampan(
            "init", "--name", one.name, "--node-name", "m1", "--apiserver-advertise-address", one.ipv4,
            "--apiserver-bind-port", "7443", "--ignore-preflight-errors", "NumCPU,Mem",
        )  # fmt: skip
        one.sampan("down", "--name", one.name)
        yield one
    finally:
        left = made.close()
    assert not left, left


@pytest.mark.timeout(300)
def test_the_cluster_comes_up_whatever_starts_first(machine: Machine, tmp_path: Path) -> None:
    machine.sampan("units", "--name", machine.name, "--output", str(tmp_path / "units"))
    commands = {}
    for path in sorted((tmp_path / "units").glob("*.service")):
        (line,) = [line for line in path.read_text().splitlines() if line.startswith("ExecStart=")]
        words = [word for word in shlex.split(line.removeprefix("ExecStart=")) if not word.startswith("$")]
        commands[path.name] = [*words]
    assert len(commands) == 7
    order = random.Random(SEED)
    config = Path("/var/lib/sampan") / machine.name / "kubernetes" / "admin.conf"
    for _ in range(ORDERS):
        names = list(commands)
        order.shuffle(names)
        services = Services(machine, commands)
        began = machine.run("date", "-u", "+%Y-%m-%dT%H:%M:%SZ").stdout.strip()
        try:
            for name in names:
                services.start(name)

            def ready(services: Services = services, began: str = began) -> bool:
                services.look()
                words = (
                    'jsonpath={range .items[*].status.conditions[?(@.type=="Ready")]}{.status} '
                    "{.lastHeartbeatTime}{end}"
                )
                got = machine.run(
                    "kubectl", "--kubeconfig", str(config), "get", "nodes", "-o", words, check=False
                ).stdout.split()
                return len(got) == 2 and got[0] == "True" and got[1] >= began

            assert eventually(ready, seconds=120), f"{names}: {(machine.home / 'services.log').read_text()[-3000:]}"
            leases = machine.run(
                "kubectl", "--kubeconfig", str(config), "get", "leases", "-n", "kube-system", "-o",
                "jsonpath={.items[*].metadata.name}",
            ).stdout.split()  # fmt: skip
            assert {"kube-controller-manager", "kube-scheduler"} <= set(leases)
        finally:
            services.stop()
