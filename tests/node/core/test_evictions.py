"""A node that protects itself: the right pod ends, in the kubelet's words, and the node's conditions come and go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from sampan.api.types import Obj
from sampan.node.eviction.meter import PodDisk
from sampan.node.eviction.usage import DiskUsage
from sampan.node.eviction.words import render_metrics
from sampan.node.host import Disk
from sampan.node.runtime import ContainerStats, RuntimeUnavailable
from sampan.node.simulated_behaviour import Behaviour
from sampan.node.thresholds import parse_thresholds

from .conftest import World

MI = 1 << 20
MEMORY = parse_thresholds({"memory.available": "100Mi"})


def memory_left(world: World, amount: int) -> None:
    world.host.present_load = replace(world.host.present_load, memory_available_bytes=amount)


def disk_left(world: World, percent: int) -> None:
    total = world.host.machine().disk_bytes
    world.host.present_disk = Disk(total_bytes=total, free_bytes=total * percent // 100)


def uses(world: World, pod: str, memory: int = 0, *, layer: int = 0, **disk: Any) -> None:
    """Of the pod's only container, from now on."""
    meta = world.api.objects[pod]["metadata"]
    found = [
        e.container
        for e in world.runtime._containers.values()
        if e.container.labels.get("io.kubernetes.pod.uid") == meta["uid"]
    ]
    for each in found:
        world.runtime.usage[each.id] = ContainerStats(
            each.id, each.labels, world.clock.now(), 0, memory, memory, memory, layer
        )
    if disk:
        world.host.meter.pods[meta["uid"]] = PodDisk(**disk)


def node_condition(world: World, kind: str) -> Obj:
    conditions = world.api.objects["/api/v1/nodes/n1"]["status"]["conditions"]
    return next(each for each in conditions if each["type"] == kind)


async def running(world: World, *pods: str) -> None:
    await world.api.until(lambda: all(world.api.status(each)["phase"] == "Running" for each in pods))


def is_evicted(world: World, pod: str) -> bool:
    return (world.api.status(pod).get("phase"), world.api.status(pod).get("reason")) == ("Failed", "Evicted")


async def test_the_pod_furthest_above_its_request_ends_and_only_that_one(world: World) -> None:
    hog = world.api.add_pod("hog")
    modest = world.api.add_pod("modest", containers=[
        {"name": "main", "image": "demo:1", "resources": {"requests": {"memory": "200Mi"}}}
    ])  # fmt: skip
    await running(world, hog, modest)
    uses(world, hog, 64 * MI), uses(world, modest, 150 * MI)
    memory_left(world, 90 * MI)
    await world.api.until(lambda: is_evicted(world, hog))
    memory_left(world, 500 * MI)
    status = world.api.status(hog)
    message = (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. "
        "Container main was using 64Mi, request is 0, has larger consumption of memory. "
    )
    assert status["message"] == message
    target = next(each for each in status["conditions"] if each["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"], target["message"]) == ("True", "TerminationByKubelet", message)
    await asyncio.sleep(400)
    assert world.api.status(modest)["phase"] == "Running"
    shown = render_metrics(world.agent.protection.evictions)
    assert 'kubelet_evictions{eviction_signal="memory.available"} 1\n' in shown
    events = dict(zip(world.api.reasons(), world.api.messages(), strict=True))
    assert events["Evicted"] == message
    assert events["EvictionThresholdMet"] == "Attempting to reclaim memory"
    assert "NodeHasInsufficientMemory" in events


async def test_a_hard_eviction_leaves_a_second_whatever_grace_the_pod_asks_for(world: World) -> None:
    world.runtime.default_behaviour = Behaviour(ignores_term=True)
    pod = world.api.add_pod("slow", terminationGracePeriodSeconds=600)
    await running(world, pod)
    memory_left(world, MI)
    begun = world.clock.now()
    await world.api.until(lambda: is_evicted(world, pod))
    assert (world.clock.now() - begun).total_seconds() < 10 + 5


async def test_conditions_come_at_once_and_go_after_the_transition_period(world: World) -> None:
    await world.api.until(lambda: node_condition(world, "MemoryPressure")["status"] == "False")
    memory_left(world, MI)
    await world.api.until(lambda: node_condition(world, "MemoryPressure")["status"] == "True", 20)
    assert node_condition(world, "MemoryPressure")["reason"] == "KubeletHasInsufficientMemory"
    memory_left(world, 500 * MI)
    await asyncio.sleep(280)
    assert node_condition(world, "MemoryPressure")["status"] == "True"
    await asyncio.sleep(40)
    found = node_condition(world, "MemoryPressure")
    assert (found["status"], found["reason"]) == ("False", "KubeletHasSufficientMemory")


async def test_while_memory_is_short_best_effort_pods_are_refused_and_others_are_not(world: World) -> None:
    memory_left(world, MI)
    await world.api.until(lambda: node_condition(world, "MemoryPressure")["status"] == "True")
    memory_left(world, 500 * MI)
    refused = world.api.add_pod("best-effort")
    taken = world.api.add_pod("burstable", containers=[
        {"name": "main", "image": "demo:1", "resources": {"requests": {"memory": "1Mi"}}}
    ])  # fmt: skip
    await world.api.until(lambda: is_evicted(world, refused))
    assert world.api.status(refused)["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
    await running(world, taken)


async def test_critical_pods_stay_whatever_they_use(world: World) -> None:
    critical = world.api.add_pod("critical", priority=2_000_000_000)
    usual = world.api.add_pod("usual")
    await running(world, critical, usual)
    uses(world, critical, 900 * MI), uses(world, usual, MI)
    memory_left(world, MI)
    await world.api.until(lambda: is_evicted(world, usual))
    await asyncio.sleep(120)
    assert world.api.status(critical)["phase"] == "Running"


async def test_a_soft_threshold_waits_for_its_grace(new_world: type[World]) -> None:
    world = new_world()
    soft = parse_thresholds({}, {"memory.available": "1Gi"}, {"memory.available": "1m"}, enforce_allocatable=False)
    world.config = replace(world.config, eviction_thresholds=soft, eviction_max_pod_grace_seconds=20)
    await world.start()
    try:
        pod = world.api.add_pod("p")
        await running(world, pod)
        memory_left(world, 500 * MI)
        await world.api.until(lambda: node_condition(world, "MemoryPressure")["status"] == "True")
        await asyncio.sleep(45)
        assert world.api.status(pod)["phase"] == "Running"
        await world.api.until(lambda: is_evicted(world, pod), 40)
    finally:
        await world.stop()
        await world.runtime.close()


async def test_unused_images_go_before_pods_when_the_disk_is_short(world: World) -> None:
    pod = world.api.add_pod("p")
    await running(world, pod)
    world.runtime.add_image("unused:1")
    disk_left(world, 5)
    remove = world.runtime.remove_image

    async def relieved(reference: str) -> None:
        await remove(reference)
        disk_left(world, 50)

    world.runtime.remove_image = relieved  # type: ignore[method-assign]  # removing one makes room
    await world.api.until(lambda: node_condition(world, "DiskPressure")["status"] == "True")
    await asyncio.sleep(150)
    assert world.api.status(pod)["phase"] == "Running"
    assert all("unused:1" not in image.tags for image in await world.runtime.list_images())
    assert "NodeHasDiskPressure" in world.api.reasons()


async def test_a_full_disk_takes_the_pod_that_filled_it(world: World) -> None:
    filler, other = world.api.add_pod("filler"), world.api.add_pod("other")
    await running(world, filler, other)
    uses(world, filler, layer=900 * MI), uses(world, other, layer=MI)
    disk_left(world, 5)
    await world.api.until(lambda: is_evicted(world, filler))
    disk_left(world, 50)
    assert (
        "The node was low on resource: ephemeral-storage. Threshold quantity: " in world.api.status(filler)["message"]
    )
    assert (
        "Container main was using 900Mi, request is 0, has larger consumption of ephemeral-storage. "
        in (world.api.status(filler)["message"])
    )
    await asyncio.sleep(60)
    assert world.api.status(other)["phase"] == "Running"


@pytest.mark.parametrize(
    ("thresholds", "signal", "condition", "resource"),
    [
        ({"pid.available": "100"}, "pids", "PIDPressure", "pids"),
        ({"nodefs.inodesFree": "5%"}, "inodes", "DiskPressure", "inodes"),
    ],
)
async def test_processes_and_inodes_run_out_too(
    new_world: type[World], thresholds: dict[str, str], signal: str, condition: str, resource: str
) -> None:
    world = new_world()
    world.config = replace(world.config, eviction_thresholds=parse_thresholds(thresholds))
    await world.start()
    try:
        bomb, other = world.api.add_pod("bomb"), world.api.add_pod("other")
        await running(world, bomb, other)
        uses(world, bomb, processes=900, volumes={"v": DiskUsage(1, 900)})
        uses(world, other, processes=1)
        if signal == "pids":
            world.host.present_load = replace(world.host.present_load, tasks=950, task_limit=1000)
        else:
            world.host.present_disk = replace(world.host.present_disk, inodes=1000, inodes_free=1)
        await world.api.until(lambda: is_evicted(world, bomb))
        world.host.present_load = replace(world.host.present_load, tasks=1)
        world.host.present_disk = replace(world.host.present_disk, inodes_free=900)
        assert f"The node was low on resource: {resource}. " in world.api.status(bomb)["message"]
        assert node_condition(world, condition)["status"] == "True"
        await asyncio.sleep(400)
        assert world.api.status(other)["phase"] == "Running"
        assert node_condition(world, condition)["status"] == "False"
    finally:
        await world.stop()
        await world.runtime.close()


async def test_a_pod_over_its_own_limit_of_disk_ends_though_the_node_is_well(world: World) -> None:
    """[sig-node] emptyDir sizeLimit and ephemeral-storage limits are enforced by eviction."""
    scratch = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
    over, within = world.api.add_pod("over", volumes=[scratch]), world.api.add_pod("within", volumes=[scratch])
    await running(world, over, within)
    uses(world, over, volumes={"v": DiskUsage(2 * MI, 2)}), uses(world, within, volumes={"v": DiskUsage(MI, 2)})
    await world.api.until(lambda: is_evicted(world, over))
    assert world.api.status(over)["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert world.api.condition(over, "DisruptionTarget") == ""
    await asyncio.sleep(60)
    assert world.api.status(within)["phase"] == "Running"
    assert node_condition(world, "DiskPressure")["status"] == "False"


async def test_at_most_one_pod_goes_before_what_it_frees_was_seen(world: World) -> None:
    pods = [world.api.add_pod(f"p{number}") for number in range(4)]
    await running(world, *pods)
    for number, each in enumerate(pods):
        uses(world, each, number * MI)
    memory_left(world, MI)
    await world.api.until(lambda: any(is_evicted(world, each) for each in pods))
    memory_left(world, 500 * MI)
    await asyncio.sleep(400)
    assert [is_evicted(world, each) for each in pods] == [False, False, False, True]


async def test_pods_together_are_held_to_what_nothing_else_is_reserved_for(new_world: type[World]) -> None:
    """[sig-node] Node allocatable is enforced on the pods' cgroup, and told."""
    world = new_world()
    world.config = replace(world.config, kube_reserved={"cpu": "500m", "memory": "1Gi"})
    await world.start()
    try:
        machine = world.host.machine()
        assert world.host.pods_limits == (machine.cpus * 1000 - 500, machine.memory_bytes - (1 << 30))
        await world.api.until(lambda: "NodeAllocatableEnforced" in world.api.reasons())
    finally:
        await world.stop()
        await world.runtime.close()


async def test_memory_does_not_wait_until_files_are_counted(world: World) -> None:
    """What a pod has on the disk takes as long to count as the pod likes."""
    scratch = [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]
    pods = [world.api.add_pod(f"full-{number}", volumes=scratch) for number in range(3)]
    hog = world.api.add_pod("hog", volumes=scratch)
    await running(world, hog, *pods)
    for each in (hog, *pods):
        uses(world, each, 200 * MI if each == hog else MI)
    world.host.meter.count_seconds = 300.0
    memory_left(world, 0)  # which is not the same as not to know
    begun = world.clock.now()
    await world.api.until(lambda: is_evicted(world, hog))
    memory_left(world, 500 * MI)
    # A look that was under way counts one pod's files to its end.
    assert (world.clock.now() - begun).total_seconds() < 330


async def test_counting_files_has_a_bound_and_everybody_has_a_turn(world: World) -> None:
    scratch = [{"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}]
    names = [f"full-{number}" for number in range(5)]
    pods = [world.api.add_pod(name, volumes=scratch) for name in names]
    await running(world, *pods)
    for each in pods:
        uses(world, each, MI)
    meter = world.host.meter
    meter.count_seconds = 15.0
    meter.counted.clear()
    await world.api.until(lambda: len(meter.counted) >= 5)
    assert sorted(meter.counted[:5]) == names
    uses(world, pods[4], MI, volumes={"tmp": DiskUsage(2 * MI)})
    await world.api.until(lambda: is_evicted(world, pods[4]))


async def test_nobody_is_evicted_while_the_runtime_does_not_say_what_pods_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent() -> list[ContainerStats]:
        raise RuntimeUnavailable("away")

    modest = world.api.add_pod("modest", priority=1)
    hog = world.api.add_pod("hog", priority=2)
    await running(world, modest, hog)
    uses(world, modest, MI), uses(world, hog, 200 * MI)
    monkeypatch.setattr(world.runtime, "list_stats", silent)
    memory_left(world, 90 * MI)
    await world.api.until(lambda: node_condition(world, "MemoryPressure")["status"] == "True")
    await asyncio.sleep(60)
    assert not is_evicted(world, modest) and not is_evicted(world, hog)
    monkeypatch.undo()
    await world.api.until(lambda: is_evicted(world, modest))
    memory_left(world, 500 * MI)
