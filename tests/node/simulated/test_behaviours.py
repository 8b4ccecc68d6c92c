"""What simulated containers do: by image, by annotations of their pod, by chance, and what they use."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.client.timeline import VirtualTimeline
from sampan.node.runtime import ContainerConfig, SandboxConfig
from sampan.node.simulated import Behaviour, SimulatedRuntime
from sampan.node.simulated_behaviour import PREFIX, Life, annotated, plan_life
from sampan.testing import virtual

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"run-seconds": "30"}, Behaviour(run_seconds=30)),
        ({"run-seconds": "30", "exit-code": "7"}, Behaviour(run_seconds=30, exit_code=7)),
        ({"cpu": "250m", "memory": "64Mi"}, Behaviour(cpu_cores=0.25, memory_bytes=64 << 20)),
        ({"failure-rate": "0.5"}, Behaviour(failure_rate=0.5)),
        ({"failure-rate": "7"}, Behaviour(failure_rate=1.0)),
        # What cannot be read counts as absent.
        ({"run-seconds": "soon", "exit-code": "-1", "cpu": "much", "memory": "-1", "failure-rate": "nan"}, Behaviour()),
        ({"run-seconds": "1e400", "exit-code": "256", "memory": "9" * 5000, "start-seconds": "3-1"}, Behaviour()),
    ],
)
def test_a_pod_says_what_its_containers_do(said: dict[str, str], found: Behaviour) -> None:
    annotations = {f"{PREFIX}{name}": text for name, text in said.items()}
    assert annotated(Behaviour(), annotations) == found


def test_so_many_of_the_lives_fail_and_soon() -> None:
    chance = random.Random(1)
    lives = [plan_life(Behaviour(failure_rate=0.2), chance) for _ in range(5000)]
    failed = [life for life in lives if life != Life(None, 0)]
    assert 900 < len(failed) < 1100
    assert all(life.seconds is not None and life.seconds <= 1 and life.exit_code == 1 for life in failed)


def live(body: Callable[[SimulatedRuntime], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        made = SimulatedRuntime(VirtualTimeline(START), random=random.Random(1))
        made.add_image("any")
        await body(made)
        await made.close()

    virtual.run(whole())


async def start(runtime: SimulatedRuntime, **annotations: str) -> str:
    said = {f"{PREFIX}{name.replace('_', '-')}": text for name, text in annotations.items()}
    number = len(await runtime.list_sandboxes())
    config = SandboxConfig(name=f"p{number}", uid=str(number), namespace="default", annotations=said)
    sandbox = await runtime.run_sandbox(config)
    container = await runtime.create_container(sandbox, ContainerConfig(name="c", image="any"), config)
    await runtime.start_container(container)
    return container


def test_a_container_ends_when_its_pod_said() -> None:
    async def body(runtime: SimulatedRuntime) -> None:
        container = await start(runtime, run_seconds="30", exit_code="3")
        await asyncio.sleep(29)
        assert (await runtime.container_status(container)).state == "running"
        await asyncio.sleep(2)
        ended = await runtime.container_status(container)
        assert (ended.state, ended.exit_code) == ("exited", 3)

    live(body)


def test_a_start_takes_as_long_as_its_pod_said() -> None:
    async def body(runtime: SimulatedRuntime) -> None:
        began = asyncio.get_running_loop().time()
        await start(runtime, start_seconds="5")
        assert asyncio.get_running_loop().time() - began == pytest.approx(5)

    live(body)


def test_use_is_steady_and_what_was_used_is_not_forgotten() -> None:
    async def body(runtime: SimulatedRuntime) -> None:
        first = await start(runtime, cpu="500m", memory="64Mi")
        await start(runtime, cpu="1", memory="1Gi")
        await asyncio.sleep(10)
        stats = {each.container_id: each for each in await runtime.list_stats()}
        assert stats[first].cpu_nanoseconds == pytest.approx(5e9)
        assert stats[first].memory_working_set_bytes == 64 << 20
        runtime.exit_container(first)
        cpu, memory = runtime.used()
        assert cpu == pytest.approx(15e9) and memory == 1 << 30
        await asyncio.sleep(10)
        assert runtime.used()[0] == pytest.approx(25e9)

    live(body)


def test_while_containers_crash_none_lives_for_long() -> None:
    async def body(runtime: SimulatedRuntime) -> None:
        before = await start(runtime)
        runtime.set_crashing(True)
        assert (await runtime.container_status(before)).exit_code == 1
        during = await start(runtime)
        await asyncio.sleep(1.1)
        assert (await runtime.container_status(during)).state == "exited"
        runtime.set_crashing(False)
        after = await start(runtime)
        await asyncio.sleep(60)
        assert (await runtime.container_status(after)).state == "running"

    live(body)


def test_runtimes_of_different_names_give_different_ids() -> None:
    async def ids(name: str) -> str:
        runtime = SimulatedRuntime(VirtualTimeline(START), name=name)
        return await runtime.run_sandbox(SandboxConfig(name="p", uid="1", namespace="default"))

    assert virtual.run(ids("a")) != virtual.run(ids("b"))
