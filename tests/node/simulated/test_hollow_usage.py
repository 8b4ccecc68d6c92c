"""What is known of a simulated node's use without anybody having looked before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.nodes.usage import Rate
from sampan.node.api.machine import MachineUsage
from sampan.node.hollow_usage import steady_looks
from sampan.node.runtime import Container, ContainerStats

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = NOW.timestamp()


def container(pod: str, name: str, age: float, cores: float, memory: int) -> tuple[Container, ContainerStats]:
    labels = {
        "io.kubernetes.pod.name": pod,
        "io.kubernetes.pod.namespace": "ns",
        "io.kubernetes.container.name": name,
    }
    started = NOW - timedelta(seconds=age)
    made = Container(
        id=f"{pod}-{name}", name=name, attempt=0, state="running", created_at=started, labels=labels, started_at=started
    )
    cpu = int(age * cores * 1e9)
    return made, ContainerStats(made.id, labels, NOW, cpu, memory, memory, memory, 0)


def test_each_container_and_the_node_use_what_the_behaviours_say() -> None:
    running = [container("web", "app", 1000, 0.25, 64), container("web", "side", 4, 0.5, 32)]
    looks = steady_looks(MachineUsage(900_000_000_000, 96, 1000, 904), running, NOW)
    assert looks.pod(("ns", "web")) == {
        "app": Rate(SECONDS, 10.0, 250_000_000, 64),
        "side": Rate(SECONDS, 4.0, 500_000_000, 32),
    }
    node = looks.node()
    assert node is not None
    # The one has used a quarter of a core for ten seconds, the other half of one for four.
    assert node.nano_cores == pytest.approx(450_000_000, rel=1e-6)
    assert node.memory_bytes == 96


def test_of_a_container_that_has_just_started_nothing_is_known() -> None:
    looks = steady_looks(MachineUsage(0, 1, 2, 1), [container("web", "app", 0.1, 1, 1)], NOW)
    assert looks.pod(("ns", "web")) is None
    assert looks.node() == Rate(SECONDS, 10.0, 0, 1)
