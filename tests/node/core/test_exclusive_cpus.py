"""The CPU manager's static policy in a node: who has processors to itself, and where the others run meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.node.numa import Cell
from sampan.node.processors import Place, Topology


async def begin(world: Any, **more: Any) -> None:
    await world.stop()
    world.config = replace(world.config, cpu_manager_policy="static", system_reserved={"cpu": "1"}, **more)
    await world.start()


def add(world: Any, name: str, cpus: str) -> str:
    given = {"cpu": cpus, "memory": "64Mi"}
    container = {"name": name, "image": "demo:1", "resources": {"requests": given, "limits": given}}
    path: str = world.api.add_pod(name, containers=[container], terminationGracePeriodSeconds=1)
    return path


def cpus(world: Any, name: str) -> str:
    [running] = world.running(name)
    found: str = world.runtime.config_of(running).resources.cpuset_cpus
    return found


def mems(world: Any, name: str) -> str:
    [running] = world.running(name)
    found: str = world.runtime.config_of(running).resources.cpuset_mems
    return found


async def test_whole_processors_are_one_containers_and_the_others_share_the_rest(world: Any) -> None:
    await begin(world)
    shared = add(world, "shared", "500m")
    await world.api.until(lambda: world.api.condition(shared, "Ready") == "True")
    assert cpus(world, "shared") == "0-7"
    alone = add(world, "alone", "2")
    await world.api.until(lambda: world.api.condition(alone, "Ready") == "True")
    assert cpus(world, "alone") == "1-2"
    await world.api.until(lambda: cpus(world, "shared") == "0,3-7", 30)
    # The limits of those that moved are as they were.
    assert world.runtime.config_of(world.running("shared")[0]).resources.cpu_quota == 50_000
    await world.stop()
    await world.start()
    assert cpus(world, "alone") == "1-2"
    world.api.delete(alone)
    await world.api.until(lambda: cpus(world, "shared") == "0-7", 60)


async def test_a_pod_for_which_too_few_processors_are_free_is_refused(world: Any) -> None:
    await begin(world, reserved_cpus="0-3")
    path = add(world, "one", "3")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    late = add(world, "two", "2")
    await world.api.until(lambda: world.api.status(late).get("phase") == "Failed")
    status = world.api.status(late)
    assert (status["reason"], status["message"]) == (
        "UnexpectedAdmissionError",
        "Pod was rejected: Allocate failed due to not enough cpus available to satisfy request: requested=2, "
        "available=1, which is unexpected",
    )


async def test_a_pod_that_would_get_a_part_of_a_core_is_refused_where_cores_are_given_whole(world: Any) -> None:
    world.host.present_topology = Topology({cpu: Place(0, cpu // 2) for cpu in range(8)})
    await begin(world, cpu_manager_options={"full-pcpus-only": "true"})
    path = add(world, "odd", "3")
    await world.api.until(lambda: world.api.status(path).get("phase") == "Failed")
    status = world.api.status(path)
    assert (status["reason"], status["message"]) == (
        "SMTAlignmentError",
        "Pod was rejected: SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2",
    )


async def test_processors_of_a_pod_that_has_them_alone_are_not_resized(world: Any) -> None:
    await begin(world)
    path = add(world, "alone", "2")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    pod = world.api.objects[path]
    [container] = pod["spec"]["containers"]
    given = {"cpu": "3", "memory": "64Mi"}
    spec = {**pod["spec"], "containers": [{**container, "resources": {"requests": given, "limits": given}}]}
    world.api.store(path, {**pod, "spec": spec}, "MODIFIED")
    await world.api.until(lambda: world.api.condition(path, "PodResizePending") == "True")
    [told] = [item for item in world.api.status(path)["conditions"] if item["type"] == "PodResizePending"]
    assert (told["reason"], told["message"]) == (
        "Infeasible",
        'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"',
    )


async def test_the_next_agent_leaves_every_container_the_processors_that_it_has(world: Any) -> None:
    await begin(world)
    paths = [add(world, name, "1") for name in ("first", "second", "third")]
    await world.api.until(lambda: all(world.api.condition(path, "Ready") == "True" for path in paths))
    before = {name: cpus(world, name) for name in ("second", "third")}
    world.api.delete(paths[0])
    await world.api.until(lambda: paths[0] not in world.api.objects)
    await world.stop()
    await world.start()
    await asyncio.sleep(60)
    assert {name: cpus(world, name) for name in before} == before


def two_nodes(world: Any) -> None:
    """Processors 0-3 on one NUMA node, 4-7 on another; the first is reserved."""
    world.host.present_topology = Topology({cpu: Place(cpu // 4, cpu % 4, cpu // 4) for cpu in range(8)})
    half = world.host.machine().memory_bytes // 2
    world.host.present_cells = tuple(
        Cell(id=node, cpus=frozenset(range(node * 4, node * 4 + 4)), memory_bytes=half) for node in (0, 1)
    )


async def test_processors_of_one_numa_node_or_none_where_the_policy_says_so(world: Any) -> None:
    two_nodes(world)
    await begin(world, topology_policy="single-numa-node")
    late = add(world, "far", "5")
    await world.api.until(lambda: world.api.status(late).get("phase") == "Failed")
    status = world.api.status(late)
    assert (status["reason"], status["message"]) == (
        "TopologyAffinityError",
        "Pod was rejected: Resources cannot be allocated with Topology locality",
    )
    shown = world.agent.metrics().splitlines()
    assert "kubelet_topology_manager_admission_requests_total 1" in shown
    assert "kubelet_topology_manager_admission_errors_total 1" in shown
    # What was refused has nothing: all of the node is there for others.
    path = add(world, "near", "4")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    assert cpus(world, "near") == "4-7"
    last = add(world, "last", "3")
    await world.api.until(lambda: world.api.condition(last, "Ready") == "True")
    assert cpus(world, "last") == "1-3"
    shown = world.agent.metrics().splitlines()
    assert {
        "kubelet_cpu_manager_pinning_requests_total 2", "kubelet_cpu_manager_pinning_errors_total 0",
        "kubelet_cpu_manager_shared_pool_size_millicores 1000", "kubelet_cpu_manager_exclusive_cpu_allocation_count 7",
    } <= set(shown)  # fmt: skip
    await world.stop()
    await world.start()
    assert (cpus(world, "near"), cpus(world, "last")) == ("4-7", "1-3")


async def test_memory_of_one_numa_node_lies_with_the_processors(world: Any) -> None:
    two_nodes(world)
    kept = ({"numaNode": 0, "limits": {"memory": "100Mi"}},)
    await begin(world, topology_policy="restricted", memory_manager_policy="Static", reserved_memory=kept)
    paths = [add(world, "near", "4")]
    paths.append(add(world, "other", "1"))
    await world.api.until(lambda: all(world.api.condition(path, "Ready") == "True" for path in paths))
    assert [(cpus(world, name), mems(world, name)) for name in ("near", "other")] == [("4-7", "1"), ("1", "0")]
    shared = add(world, "shared", "500m")
    await world.api.until(lambda: world.api.condition(shared, "Ready") == "True")
    assert mems(world, "shared") in ("0", "1")  # it is Guaranteed, too
    await world.api.until(lambda: b"Static" in world.host.read(Path("/node/memory_manager_state"), 1 << 20), 30)
    await world.stop()
    await world.start()
    late = add(world, "late", "1")
    await world.api.until(lambda: world.api.condition(late, "Ready") == "True")
    assert (cpus(world, "late"), mems(world, "late")) == ("2", "0")
    # What ran keeps it, and is told by the agent that came after.
    uid = world.api.objects[paths[0]]["metadata"]["uid"]
    assert world.agent.context.memory_nodes(uid, "near") == "1"


async def test_memory_of_a_pod_that_has_it_of_its_own_nodes_is_not_resized(world: Any) -> None:
    kept = ({"numaNode": 0, "limits": {"memory": "100Mi"}},)
    await begin(world, memory_manager_policy="Static", reserved_memory=kept)
    path = add(world, "alone", "2")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    pod = world.api.objects[path]
    [container] = pod["spec"]["containers"]
    given = {"cpu": "2", "memory": "65Mi"}
    spec = {**pod["spec"], "containers": [{**container, "resources": {"requests": given, "limits": given}}]}
    world.api.store(path, {**pod, "spec": spec}, "MODIFIED")
    await world.api.until(lambda: world.api.condition(path, "PodResizePending") == "True")
    [told] = [item for item in world.api.status(path)["conditions"] if item["type"] == "PodResizePending"]
    assert (told["reason"], told["message"]) == (
        "Infeasible",
        'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"',
    )


async def test_without_a_policy_processors_come_from_wherever_they_are_free(world: Any) -> None:
    two_nodes(world)
    await begin(world)
    path = add(world, "wide", "5")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    assert cpus(world, "wide") == "1,4-7"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"topology_policy": "restricted"}, "unsupported on machines with more than 8 NUMA Nodes"),
        ({"system_reserved": {"cpu": "9"}}, 'Resource "cpu" has a reservation of 9 but capacity of 8'),
        (
            {"memory_manager_policy": "Static", "topology_policy": "none"},
            'the total amount "0" of type "memory" is not equal to the value "100Mi" determined by Node Allocatable',
        ),
        ({"reserved_cpus": "7-9"}, "reservedSystemCPUs names processors that this machine does not have: 8-9"),
    ],
)
async def test_an_agent_that_cannot_keep_its_settings_on_this_machine_does_not_begin(
    world: Any, more: dict[str, Any], words: str
) -> None:
    await world.stop()
    world.host.present_cells = tuple(Cell(id=number) for number in range(9))
    world.config = replace(world.config, **{"cpu_manager_policy": "static", "system_reserved": {"cpu": "1"}, **more})
    with pytest.raises(ValueError, match=words):
        await world.start()


async def test_an_agent_does_not_begin_from_a_state_that_does_not_fit_the_machine(world: Any) -> None:
    await begin(world)
    path = add(world, "alone", "2")
    await world.api.until(lambda: world.api.condition(path, "Ready") == "True")
    await world.stop()
    world.host.present_topology = Topology({cpu: Place(0, cpu) for cpu in range(6)})
    with pytest.raises(ValueError) as refused:  # the words are the subject
        await world.start()
    assert str(refused.value) == (
        "the CPU manager's state does not fit: current set of available CPUs \"0-5\" doesn't match with CPUs in state "
        '"0-7"; drain this node, remove /node/cpu_manager_state and start it again'
    )
