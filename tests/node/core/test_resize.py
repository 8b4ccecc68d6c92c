"""In-place resize: the status never says more than the runtime was told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.cgroups.held import Held
from sampan.node.pods.resizing import Verdict, infeasible


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


def memory(amount: str) -> dict[str, Any]:
    return {"requests": {"memory": amount}, "limits": {"memory": amount}}


def wish(world: Any, path: str, *resources: dict[str, Any], whole: dict[str, Any] | None = None) -> None:
    """Other resources for the containers in order, or for the pod."""
    pod = world.api.objects[path]
    given = {"resources": whole} if whole else {}
    containers = [
        {**container, "resources": wanted}
        for container, wanted in zip(pod["spec"]["containers"], resources, strict=False)
    ]
    spec = {**pod["spec"], **given, "containers": containers or pod["spec"]["containers"]}
    meta = {**pod["metadata"], "generation": pod["metadata"].get("generation", 1) + 1}
    world.api.store(path, {**pod, "metadata": meta, "spec": spec}, "MODIFIED")


def error(world: Any, path: str) -> str:
    found = [item for item in world.api.status(path)["conditions"] if item["type"] == "PodResizeInProgress"]
    return str(found[0].get("message", "")) if found else ""


async def test_memory_that_is_in_use_is_not_taken_away(world: Any) -> None:
    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "resources": memory("256Mi")}])
    await ready(world, path)
    [running] = world.running()
    cgroup = world.host.cgroup_path(world.api.objects[path])
    for key in (cgroup, running):
        world.host.present_held[key] = Held(memory_limit_bytes=256 << 20, memory_usage_bytes=200 << 20)
    wish(world, path, memory("100Mi"))
    await world.api.until(lambda: error(world, path) != "")
    assert error(world, path) == (
        "cannot decrease memory limits: [attempting to set pod memory limit (104857600) below current usage (209715200)"
        ', attempting to set container "main" memory limit (104857600) below current usage (209715200)]'
    )
    assert world.runtime.config_of(running).resources.memory_limit_bytes == 256 << 20
    assert not world.host.rewritten
    [told] = [text for text in world.api.messages() if text.startswith("Pod resize error: ")]
    assert '{"name":"main","resources":{"limits":{"memory":"100Mi"},"requests":{"memory":"100Mi"}}}' in told
    world.host.present_held.clear()
    await world.api.until(lambda: world.runtime.config_of(running).resources.memory_limit_bytes == 100 << 20)
    await world.api.until(lambda: not world.api.condition(path, "PodResizeInProgress"))


async def test_the_status_tells_what_the_kernel_holds_a_container_to_and_not_what_was_asked_for(world: Any) -> None:
    path = add(world, "250m")
    await ready(world, path)
    [running] = world.running()
    world.host.present_held[running] = Held(cpu_shares=256, cpu_quota_microseconds=25_000)
    wish(world, path, cpu("500m"))
    await world.api.until(lambda: not world.api.condition(path, "PodResizeInProgress"))
    await world.api.until(lambda: "ResizeCompleted" in world.api.reasons())
    assert shown(world, path) == ("250m", "500m")


async def test_a_pods_cgroup_grows_before_its_containers_and_shrinks_after_them(world: Any) -> None:
    order: list[str] = []
    update, rewrite = world.runtime.update_resources, world.host.rewrite_cgroup

    async def note_update(container_id: str, resources: Any) -> None:
        order.append("container")
        await update(container_id, resources)

    async def note_rewrite(pod: Any, part: str) -> None:
        order.append(part)
        await rewrite(pod, part)

    path = world.api.add_pod("web", containers=[{"name": "main", "image": "demo:1", "resources": memory("1Gi")}])
    await ready(world, path)
    world.runtime.update_resources, world.host.rewrite_cgroup = note_update, note_rewrite
    wish(world, path, memory("2Gi"))
    await world.api.until(lambda: world.api.reasons().count("ResizeCompleted") == 1)
    assert order[0] == "memory limit"
    order.clear()
    wish(world, path, memory("512Mi"))
    await world.api.until(lambda: "container" in order and "memory limit" in order)
    assert order.index("container") < order.index("memory limit")


async def test_of_those_that_wait_the_more_important_gets_the_room_first(world: Any) -> None:
    big = add(world, "6", name="big")
    small = {name: add(world, "500m", name=name) for name in ("low", "high")}
    for path in (big, *small.values()):
        await ready(world, path)
    pod = world.api.objects[small["high"]]
    world.api.store(small["high"], {**pod, "spec": {**pod["spec"], "priority": 1000}}, "MODIFIED")
    for name in ("low", "high"):
        resize(world, small[name], "5")
        await world.api.until(lambda name=name: pending(world, small[name]) == "Deferred")  # type: ignore[misc]  # bound to this turn
    world.api.delete(big)
    await world.api.until(lambda: shown(world, small["high"]) == ("5", "5"), 170)
    assert pending(world, small["low"]) == "Deferred"
    assert shown(world, small["low"]) == ("500m", "500m")


async def test_two_that_ask_at_once_do_not_both_get_what_is_left(world: Any) -> None:
    paths = [add(world, "1", name=name) for name in ("one", "two")]
    for path in paths:
        await ready(world, path)
    for path in paths:
        resize(world, path, "6")
    await world.api.until(lambda: sum(pending(world, path) == "Deferred" for path in paths) == 1)
    await world.api.until(lambda: sum(shown(world, path) == ("6", "6") for path in paths) == 1)


async def test_a_promise_outlives_the_agent_that_made_it(world: Any) -> None:
    path = add(world)
    await ready(world, path)
    world.runtime.failures["update_resources"] = [runtime.RuntimeCallError("busy")] * 1000
    resize(world, path, "300m")
    await world.api.until(lambda: error(world, path) == "busy")
    await world.stop()
    pod = world.api.objects[path]
    # What the API server remembers of it is lost; the node's own file is not.
    world.api.store(path, {**pod, "status": {**pod["status"], "containerStatuses": [], "conditions": []}}, "MODIFIED")
    world.runtime.failures.clear()
    await world.start()
    await world.api.until(lambda: shown(world, path) == ("300m", "300m"))
    assert quota(world) == 30_000 and len(world.running()) == 1
    assert world.api.reasons().count("ResizeStarted") == 1


async def test_the_resources_of_a_pod_as_a_whole_are_resized_too(world: Any) -> None:
    def whole(amount: str) -> dict[str, Any]:
        return {"requests": {"cpu": "100m"}, "limits": {"cpu": amount}}

    path = world.api.add_pod("web", resources=whole("1"), containers=[{"name": "main", "image": "demo:1"}])
    await ready(world, path)
    assert world.api.status(path)["resources"] == whole("1")
    assert world.api.status(path)["allocatedResources"] == {"cpu": "100m"}
    assert quota(world) == 100_000
    wish(world, path, whole=whole("2"))
    await world.api.until(lambda: world.api.status(path)["resources"] == whole("2"))
    # A container without a limit of its own has the pod's.
    assert quota(world) == 200_000


async def test_a_static_pod_is_never_resized(world: Any) -> None:
    promised = {"metadata": {"uid": "u", "annotations": {"kubernetes.io/config.source": "file"}}, "spec": {}}
    found = infeasible(promised, promised, {"cpu": 8000})
    assert found == Verdict("Infeasible", "In-place resize of static-pods is not supported")


def resize_first(world: Any, path: str, amount: str) -> None:
    pod = world.api.objects[path]
    [container] = pod["spec"]["initContainers"]
    spec = {**pod["spec"], "initContainers": [{**container, "resources": cpu(amount)}]}
    world.api.store(path, {**pod, "spec": spec}, "MODIFIED")


def shown_first(world: Any, path: str) -> Any:
    [status] = world.api.status(path)["initContainerStatuses"]
    return status.get("resources", {}).get("limits", {}).get("cpu"), status["allocatedResources"]["cpu"]


async def test_an_init_container_is_resized_while_it_runs_and_when_it_has_ended_nothing_begins(world: Any) -> None:
    """KEP-1287: not only sidecars (InPlacePodVerticalScalingInitContainers)"""
    first = {"name": "first", "image": "demo:1", "resources": cpu("100m")}
    main = {"name": "main", "image": "demo:1", "resources": cpu("100m")}
    path = world.api.add_pod("web", initContainers=[first], containers=[main])
    await world.api.until(lambda: world.running("first"))
    [running] = world.running("first")
    await world.api.until(lambda: world.api.status(path).get("initContainerStatuses"))
    resize_first(world, path, "300m")
    await world.api.until(lambda: shown_first(world, path) == ("300m", "300m"))
    assert world.runtime.config_of(running).resources.cpu_quota == 30_000
    assert world.running("first") == [running] and not world.running()
    world.runtime.exit_container(running)
    await ready(world, path)
    told = len(world.api.reasons())
    resize_first(world, path, "200m")
    await world.api.until(lambda: "ResizeCompleted" in world.api.reasons()[told:])
    await world.api.until(lambda: not world.api.condition(path, "PodResizeInProgress"))
    assert quota(world) == 10_000 and not world.running("first")
    assert set(world.api.reasons()[told:]) <= {"ResizeStarted", "ResizeCompleted"}
