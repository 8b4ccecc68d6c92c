"""In-place resize: the status never says more than the runtime was told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.node import runtime


def cpu(amount: str) -> dict[str, Any]:
    return {"requests": {"cpu": amount}, "limits": {"cpu": amount}}


def add(world: Any, amount: str = "100m", name: str = "web", **container: Any) -> str:
    made = {"name": "main", "image": "demo:1", "resources": cpu(amount), **container}
    path: str = world.api.add_pod(name, containers=[made])
    return path


def resize(world: Any, path: str, amount: str) -> None:
    pod = world.api.objects[path]
    [container] = pod["spec"]["containers"]
    spec = {**pod["spec"], "containers": [{**container, "resources": cpu(amount)}]}
    meta = {**pod["metadata"], "generation": pod["metadata"].get("generation", 1) + 1}
    world.api.store(path, {**pod, "metadata": meta, "spec": spec}, "MODIFIED")


def quota(world: Any) -> int:
    [running] = world.running()
    found: int = world.runtime.config_of(running).resources.cpu_quota
    return found


def shown(world: Any, path: str) -> tuple[str, str]:
    [status] = world.api.status(path)["containerStatuses"]
    return status["resources"]["limits"]["cpu"], status["allocatedResources"]["cpu"]


def pending(world: Any, path: str) -> str:
    found = [item for item in world.api.status(path)["conditions"] if item["type"] == "PodResizePending"]
    return str(found[0]["reason"]) if found else ""


async def ready(world: Any, path: str) -> None:
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")


async def test_a_resize_changes_the_running_container_and_then_the_status(world: Any) -> None:
    path = add(world)
    await ready(world, path)
    assert (quota(world), shown(world, path)) == (10_000, ("100m", "100m"))
    [before] = world.running()
    resize(world, path, "300m")
    await world.api.until(lambda: shown(world, path) == ("300m", "300m"))
    assert quota(world) == 30_000 and world.running() == [before]
    await world.api.until(lambda: not world.api.condition(path, "PodResizeInProgress"))
    await world.api.until(lambda: {"ResizeStarted", "ResizeCompleted"} <= set(world.api.reasons()))


async def test_while_the_runtime_refuses_the_status_tells_the_old_size_and_the_error(world: Any) -> None:
    path = add(world)
    await ready(world, path)
    world.runtime.failures["update_resources"] = [runtime.RuntimeCallError("too small")] * 3
    resize(world, path, "300m")
    await world.api.until(lambda: world.api.condition(path, "PodResizeInProgress") == "True")
    await world.api.until(lambda: "ResizeError" in world.api.reasons())
    [found] = [item for item in world.api.status(path)["conditions"] if item["type"] == "PodResizeInProgress"]
    assert (found["reason"], found["message"], shown(world, path)) == ("Error", "too small", ("100m", "300m"))
    await world.api.until(lambda: shown(world, path) == ("300m", "300m"))
    assert quota(world) == 30_000


async def test_what_the_node_will_never_have_is_infeasible_and_changes_nothing(world: Any) -> None:
    path = add(world)
    await ready(world, path)
    resize(world, path, "1000")
    await world.api.until(lambda: pending(world, path) == "Infeasible")
    await asyncio.sleep(100)
    assert (quota(world), shown(world, path)) == (10_000, ("100m", "100m"))
    [found] = [item for item in world.api.status(path)["conditions"] if item["type"] == "PodResizePending"]
    assert found["message"] == "Node didn't have enough capacity: cpu, requested: 1000000, capacity: 8000"
    resize(world, path, "100m")
    await world.api.until(lambda: not pending(world, path))


async def test_a_resize_waits_for_room_and_an_agent_that_restarts_still_knows(world: Any) -> None:
    path, other = add(world), add(world, "6", name="big")
    await ready(world, path)
    await ready(world, other)
    resize(world, path, "4")
    await world.api.until(lambda: pending(world, path) == "Deferred")
    await world.stop()
    await world.start()
    await asyncio.sleep(30)
    assert (pending(world, path), shown(world, path)) == ("Deferred", ("100m", "100m"))
    world.api.delete(other)
    await world.api.until(lambda: shown(world, path) == ("4", "4"), 60)
    assert quota(world) == 400_000
    await world.api.until(lambda: not pending(world, path))


@pytest.mark.parametrize("policy", ["NotRequired", "RestartContainer"])
async def test_a_container_restarts_for_a_resize_only_if_it_says_so(world: Any, policy: str) -> None:
    path = add(world, resizePolicy=[{"resourceName": "cpu", "restartPolicy": policy}])
    await ready(world, path)
    resize(world, path, "300m")
    await world.api.until(lambda: shown(world, path) == ("300m", "300m"))
    [status] = world.api.status(path)["containerStatuses"]
    assert status["restartCount"] == (policy == "RestartContainer")
    assert quota(world) == 30_000


async def test_a_container_that_restarts_while_a_resize_waits_has_what_was_promised(world: Any) -> None:
    path = add(world)
    await ready(world, path)
    resize(world, path, "1000")
    await world.api.until(lambda: pending(world, path) == "Infeasible")
    world.runtime.exit_container(world.running()[0], 1)
    await world.api.until(lambda: world.api.status(path)["containerStatuses"][0]["restartCount"] == 1)
    await ready(world, path)
    assert (quota(world), shown(world, path)) == (10_000, ("100m", "100m"))
