"""The runtimes under test: the simulated one, and a containerd of our own where the machine allows."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import SystemClock
from sampan.node import runtime
from sampan.node.cgroups.manager import remove_all
from sampan.node.simulated import SimulatedRuntime
from sampan.testing import free

CGROUP = f"/sampan-contract-{os.getpid()}"


@dataclass
class Bench:
    """A runtime with an image that sleeps for ever when asked to run ``sleep``."""

    runtime: runtime.Runtime
    image: str
    base: Path
    real: bool
    #: The containerd below, when there is one.
    process: Any = None

    async def kill_sandbox(self, sandbox_id: str) -> None:
        """The sandbox's own process dies, as if the kernel had chosen it for want of memory."""
        if isinstance(self.runtime, SimulatedRuntime):
            self.runtime.kill_sandbox(sandbox_id)
            return
        found = [pid for pid in _processes_of(sandbox_id) if Path(f"/proc/{pid}/exe").readlink().name == "pause"]
        assert len(found) == 1
        os.kill(found[0], signal.SIGKILL)

    def sandbox(self, name: str = "pod") -> runtime.SandboxConfig:
        labels = {runtime.POD_UID_LABEL: f"uid-{name}", runtime.POD_NAME_LABEL: name}
        return runtime.SandboxConfig(
            name=name,
            uid=f"uid-{name}",
            namespace="contract",
            hostname=name,
            log_directory=str(self.base / "logs" / name),
            labels=labels,
            annotations={"note": "kept"},
            cgroup_parent=f"{CGROUP}/{name}" if self.real else "",
        )

    def container(self, sandbox: runtime.SandboxConfig, attempt: int = 0) -> runtime.ContainerConfig:
        (Path(sandbox.log_directory) / "main").mkdir(parents=True, exist_ok=True)
        return runtime.ContainerConfig(
            name="main",
            attempt=attempt,
            image=self.image,
            command=("sleep", "1000"),
            labels={**sandbox.labels, runtime.CONTAINER_NAME_LABEL: "main"},
            annotations={"io.kubernetes.container.restartCount": str(attempt)},
            log_path=f"main/{attempt}.log",
        )


def _processes_of(sandbox_id: str) -> list[int]:
    """Processes in the cgroup that carries the sandbox's id."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if sandbox_id in (entry / "cgroup").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def can_run_containerd() -> bool:
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("containerd", "ctr", "runc"))


@pytest.fixture(
    params=[
        "simulated",
        pytest.param("containerd", marks=[pytest.mark.e2e, pytest.mark.timeout(240)]),
    ]
)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "simulated":
        simulated = SimulatedRuntime(SystemClock())
        simulated.add_image("sampan.local/demo:1")
        yield Bench(simulated, "sampan.local/demo:1", tmp_path, real=False)
        await simulated.close()
        return
    if not can_run_containerd():
        pytest.skip("needs root, containerd and runc")
    from sampan.node.images import local
    from sampan.testing.containerd import private_containerd

    bridge = f"sct{os.getpid() % 100000}"
    pod_cidr = free.node_range("contract")
    async with private_containerd(tmp_path, f"ct{os.getpid()}", pod_cidr, bridge=bridge) as process:
        yield Bench(process.client, local.DEMO_IMAGE, tmp_path, real=True, process=process)
    remove_all(CGROUP)
