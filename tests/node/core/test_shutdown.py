"""The machine goes off: pods end in order of importance, each group within its time, and the node takes no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from sampan.node.config import NodeConfig, ShutdownGrace
from sampan.node.shutdown import groups, periods, total_seconds
from sampan.node.simulated_behaviour import Behaviour

from .conftest import World

CRITICAL = 2_000_000_000
PLAIN = NodeConfig(node_name="n", addresses=())


def test_without_a_period_pods_are_not_ended_by_the_node() -> None:
    assert (periods(PLAIN), total_seconds(PLAIN)) == ((), 0)


def test_the_last_part_of_the_period_is_the_critical_pods() -> None:
    made = replace(PLAIN, shutdown_grace_seconds=30.0, shutdown_critical_seconds=10.0)
    assert periods(made) == (ShutdownGrace(0, 20), ShutdownGrace(CRITICAL, 10))
    assert total_seconds(made) == 30


@pytest.mark.parametrize(("priority", "group"), [(-5, 0), (0, 0), (9, 0), (10, 1), (99, 1), (100, 2), (CRITICAL, 2)])
def test_a_pod_is_with_the_highest_rule_that_it_reaches_and_none_is_left_out(priority: int, group: int) -> None:
    rules = [ShutdownGrace(each, 1) for each in (0, 10, 100)]
    found = groups([priority], rules, lambda each: each)
    assert found[group] == [priority]


@pytest.fixture
async def started(new_world: Callable[[], World]) -> AsyncIterator[Callable[..., Any]]:
    made = new_world()

    async def start(**settings: Any) -> World:
        made.config = replace(made.config, **settings)
        await made.start()
        return made

    yield start
    await made.stop()
    await made.runtime.close()


async def running(world: World, *pods: str) -> None:
    await world.api.until(lambda: all(world.api.status(each)["phase"] == "Running" for each in pods))


def ended(world: World, pod: str) -> bool:
    return world.api.status(pod)["phase"] == "Failed"


async def test_pods_end_before_critical_ones_and_say_why(started: Callable[..., Any]) -> None:
    world = await started(shutdown_grace_seconds=30.0, shutdown_critical_seconds=10.0)
    usual, critical = world.api.add_pod("usual"), world.api.add_pod("critical", priority=CRITICAL)
    await running(world, usual, critical)
    world.runtime.default_behaviour = Behaviour(ignores_term=True)
    world.shutdown.asked.set()
    await world.api.until(lambda: ended(world, usual))
    assert not ended(world, critical)
    await world.shutdown.done.wait()
    await world.api.until(lambda: ended(world, critical))
    for pod in (usual, critical):
        status = world.api.status(pod)
        message = "Pod was terminated in response to imminent node shutdown."
        assert (status["reason"], status["message"]) == ("Terminated", message)
        target = next(each for each in status["conditions"] if each["type"] == "DisruptionTarget")
        assert (target["status"], target["reason"], target["message"]) == ("True", "TerminationByKubelet", message)
    assert "NodeShutdown" in world.api.reasons()


async def test_the_node_is_not_ready_meanwhile_and_takes_no_pods(started: Callable[..., Any]) -> None:
    world = await started(shutdown_grace_seconds=30.0)
    world.shutdown.asked.set()
    node = world.api.objects["/api/v1/nodes/n1"]

    def ready() -> Any:
        conditions = world.api.objects["/api/v1/nodes/n1"]["status"]["conditions"]
        return next(each for each in conditions if each["type"] == "Ready")

    await world.api.until(lambda: ready()["status"] == "False")
    assert node["metadata"]["name"] == "n1"
    assert (ready()["reason"], ready()["message"]) == ("KubeletNotReady", "[node is shutting down]")
    late = world.api.add_pod("late")
    await world.api.until(lambda: ended(world, late))
    assert world.api.status(late)["reason"] == "NodeShutdown"
    assert world.api.status(late)["message"] == "Pod was rejected: Pod was rejected as the node is shutting down."


async def test_who_does_not_end_in_time_holds_up_nobody(started: Callable[..., Any]) -> None:
    world = await started(shutdown_by_priority=(ShutdownGrace(10, 7), ShutdownGrace(0, 5)))
    world.runtime.default_behaviour = Behaviour(ignores_term=True)
    slow = world.api.add_pod("slow", terminationGracePeriodSeconds=600)
    await running(world, slow)
    begun = world.clock.now()
    world.shutdown.asked.set()
    await world.shutdown.done.wait()
    assert (world.clock.now() - begun).total_seconds() <= 5 + 5 + 1
    assert ended(world, slow)  # killed at the end of its time, and told of


async def test_a_pre_stop_hook_has_its_time(started: Callable[..., Any]) -> None:
    world = await started(shutdown_grace_seconds=30.0)
    hook = {"preStop": {"sleep": {"seconds": 8}}}
    pod = world.api.add_pod("p", containers=[{"name": "main", "image": "demo:1", "lifecycle": hook}])
    await running(world, pod)
    begun = world.clock.now()
    world.shutdown.asked.set()
    await world.api.until(lambda: ended(world, pod))
    assert (world.clock.now() - begun).total_seconds() >= 8
    await world.shutdown.done.wait()


async def test_an_agent_that_was_not_told_of_a_shutdown_leaves_its_pods(started: Callable[..., Any]) -> None:
    world = await started(shutdown_grace_seconds=30.0)
    pod = world.api.add_pod("p")
    await running(world, pod)
    await world.stop()
    await asyncio.sleep(60)
    assert world.running()
    assert world.api.status(pod)["phase"] == "Running"
