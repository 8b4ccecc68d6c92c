"""What the managers of processors and of memory have in common: nothing is kept of a pod that is not taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.node.cpumanager.manager import StaticCpuManager
from sampan.node.cpumanager.policy import StaticPolicy as Cpus
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.memorymanager.manager import StaticMemoryManager
from sampan.node.memorymanager.policy import StaticPolicy as Memory
from sampan.node.topology import policies
from sampan.node.topology.aligning import Alignment
from sampan.node.topology.giving import Giver

#: of a machine with 8 processors, of which one is reserved, and 32 GiB: a part of it, all of it, more than there is
PART, ALL, TOO_MUCH = {"cpu": "4", "memory": "20Gi"}, {"cpu": "7", "memory": "32Gi"}, {"cpu": "5", "memory": "30Gi"}


def make(kind: str, host: MemoryHost, alive: set[str]) -> Giver:
    if kind == "memory":
        return StaticMemoryManager(Memory(host.cells(), {}), host, Path("/node"), active=lambda: alive)
    policy, source = Cpus(host.topology(), frozenset({0})), object()
    return StaticCpuManager(policy, host, source, Path("/node"), active=lambda: alive, running=lambda: ())  # type: ignore[arg-type]


def pod(uid: str, *amounts: dict[str, str]) -> Any:
    containers = [
        {"name": f"c{number}", "resources": {"requests": each, "limits": each}} for number, each in enumerate(amounts)
    ]
    return {"metadata": {"uid": uid, "name": uid}, "spec": {"containers": containers}}


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_a_pod_whose_second_container_is_refused_leaves_what_the_first_had_to_others(kind: str) -> None:
    host = MemoryHost(hollow_machine("n"))
    # Nobody has heard yet that the refused pod is over.
    manager = make(kind, host, {"refused", "all"})
    alignment = Alignment(policies.read("none", "container", {}), host.cells(), [manager])
    refused = alignment.admit(pod("refused", PART, TOO_MUCH))
    assert refused is not None and refused.reason == "UnexpectedAdmissionError"
    assert manager.metrics()[f"kubelet_{kind}_manager_pinning_errors_total"] == 1
    assert alignment.admit(pod("all", ALL)) is None


@pytest.mark.parametrize("kind", ["cpu", "memory"])
async def test_what_was_given_is_kept_over_agents_until_its_pod_ends(kind: str) -> None:
    host, alive = MemoryHost(hollow_machine("n")), {"first"}

    async def written(by: Giver) -> None:
        before = host.read(by._file, 1 << 20)
        running = asyncio.create_task(by.run())
        while host.read(by._file, 1 << 20) == before:  # noqa: ASYNC110 (a file in memory)
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def admits(manager: Giver, wanted: Any) -> bool:
        alignment = Alignment(policies.read("none", "container", {}), host.cells(), [manager])
        return alignment.admit(wanted) is None

    manager = make(kind, host, alive)
    assert admits(manager, pod("first", PART))
    await written(manager)
    after = make(kind, host, alive)
    assert not admits(after, pod("second", ALL))
    alive.clear()
    after.freed()
    await written(after)
    assert admits(after, pod("second", ALL))
