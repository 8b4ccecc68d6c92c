"""The pod-resources API over its real socket: who has which devices, processors and claims."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.node.devices.conftest import DRIVER, TOY, Bench

from sampan.client import tasks
from sampan.node import runtime
from sampan.node.cri.rpc import Channel
from sampan.node.devices import podresources
from sampan.node.devices.interface import Claimed, Prepared, Sharing
from sampan.node.devices.pb import podresources_pb2 as pb
from sampan.node.memorymanager.policy import Block

Obj = dict[str, Any]


def pod(name: str, **more: Any) -> Obj:
    limits = {TOY: "1"}
    main = {"name": "main", "resources": {"limits": limits, "claims": [{"name": "mine"}]}}
    init = [{"name": "first"}, {"name": "side", "restartPolicy": "Always"}]
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}"},
        "spec": {"initContainers": init, "containers": [main], **more},
    }


@asynccontextmanager
async def served(root: Path, known: podresources.Known) -> AsyncIterator[Channel]:
    running = tasks.detach(podresources.serve(root, known), "pod resources")
    place = root / "pod-resources" / "kubelet.sock"
    channel = Channel(str(place))
    try:
        while not place.is_socket():  # noqa: ASYNC110 (the server has no other word)
            await asyncio.sleep(0)
        yield channel
    finally:
        await channel.close()
        await tasks.cancel_and_wait(running)


def known(pods: list[Obj], lent: Any = lambda uid, name: {}, **more: Any) -> podresources.Known:
    sharing = Sharing(lambda: pods, more.get("exclusive", lambda uid, name: ()), more.get("assignable", lambda: ()))
    return podresources.Known(
        sharing, lent, more.get("claimed", lambda pod, container: []), more.get("stock", dict), more.get("nodes", dict)
    )


async def listed(channel: Channel) -> list[pb.PodResources]:
    answer = await channel.call(
        "/v1.PodResourcesLister/List", pb.ListPodResourcesRequest(), pb.ListPodResourcesResponse, 20
    )
    return list(answer.pod_resources)


async def get(channel: Channel, name: str) -> pb.PodResources:
    request = pb.GetPodResourcesRequest(pod_name=name, pod_namespace="ns")
    answer = await channel.call("/v1.PodResourcesLister/Get", request, pb.GetPodResourcesResponse, 20)
    return answer.pod_resources


async def test_a_monitor_sees_which_container_has_which_device_of_a_plug_in(bench: Bench, tmp_path: Path) -> None:
    async with bench.manager() as manager, bench.plugin(["a", "b"], ["ill"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (3, 2)})
        pods = [pod("one"), pod("two")]
        bench.holders = {each["metadata"]["uid"] for each in pods}
        for each in pods:
            await manager.admit(each)
        async with served(tmp_path, known(pods, manager.lent, stock=manager.stock)) as channel:
            found = {
                each.name: {
                    one.name: [(d.resource_name, list(d.device_ids)) for d in one.devices] for one in each.containers
                }
                for each in await listed(channel)
            }
            assert found.keys() == {"one", "two"}
            assert (tmp_path / podresources.DIRECTORY / podresources.SOCKET).stat().st_mode & 0o777 == 0o600
            assert all(containers.keys() == {"side", "main"} for containers in found.values())
            assert sorted(containers["main"] for containers in found.values()) == [[(TOY, ["a"])], [(TOY, ["b"])]]
            free = await channel.call(
                "/v1.PodResourcesLister/GetAllocatableResources",
                pb.AllocatableResourcesRequest(), pb.AllocatableResourcesResponse, 20,
            )  # fmt: skip
            assert [(each.resource_name, list(each.device_ids)) for each in free.devices] == [(TOY, ["a", "b"])]


async def test_processors_of_a_container_alone_and_claims_are_told(tmp_path: Path) -> None:
    def claimed(of: Obj, container: Obj) -> list[Claimed]:
        prepared = Prepared(("gpu",), ("example.com/gpu=one",), "pool", "gpu-0")
        return [Claimed("ns", "mine", ((DRIVER, prepared),))] if container["name"] == "main" else []

    def exclusive(uid: str, name: str) -> frozenset[int]:
        return frozenset({3, 1}) if (uid, name) == ("uid-one", "main") else frozenset()

    pods = [pod("one"), pod("two")]
    asked = known(pods, claimed=claimed, exclusive=exclusive, assignable=lambda: {1, 2, 3})
    async with served(tmp_path, asked) as channel:
        found = await get(channel, "one")
        side, main = found.containers
        assert (list(side.cpu_ids), list(main.cpu_ids)) == ([], [1, 3])
        [claim] = main.dynamic_resources
        assert (claim.claim_namespace, claim.claim_name) == ("ns", "mine")
        [device] = claim.claim_resources
        assert (device.driver_name, device.pool_name, device.device_name) == (DRIVER, "pool", "gpu-0")
        assert [each.name for each in device.cdi_devices] == ["example.com/gpu=one"]
        free = podresources.allocatable(asked)
        assert list(free.cpu_ids) == [1, 2, 3] and not free.devices


async def test_a_pod_that_is_not_there_is_said_by_name_and_a_socket_that_was_left_gives_way(tmp_path: Path) -> None:
    (tmp_path / "pod-resources").mkdir()
    (tmp_path / "pod-resources" / "kubelet.sock").write_text("of a killed agent")
    async with served(tmp_path, known([pod("one")])) as channel:
        with pytest.raises(runtime.RuntimeCallError, match="pod gone in namespace ns not found"):
            await get(channel, "gone")
        assert (await get(channel, "one")).name == "one"


async def test_memory_is_told_by_the_numa_nodes_that_it_comes_from() -> None:
    sharing = Sharing(
        list,
        memory=lambda uid, name: [Block(0b11, "memory", 5)] if name == "main" else [],
        allocatable_memory=lambda: [Block(0b10, "hugepages-2Mi", 4)],
    )
    asked = podresources.Known(sharing, lambda uid, name: {}, lambda pod, container: [], dict)
    told = podresources.pod_resources(pod("one"), asked)
    [free] = podresources.allocatable(asked).memory
    [mine] = [each for container in told.containers for each in container.memory]
    assert (mine.memory_type, mine.size, [node.ID for node in mine.topology.nodes]) == ("memory", 5, [0, 1])
    assert (free.memory_type, free.size, [node.ID for node in free.topology.nodes]) == ("hugepages-2Mi", 4, [1])


async def test_where_devices_are_is_told() -> None:
    nodes = {TOY: {"a": (0,), "b": (1,), "c": (0,)}}
    asked = known([], stock=lambda: {TOY: frozenset("abcd")}, nodes=lambda: nodes)
    found = [
        (list(each.device_ids), [node.ID for node in each.topology.nodes])
        for each in podresources.allocatable(asked).devices
    ]
    assert found == [(["d"], []), (["a", "c"], [0]), (["b"], [1])]
