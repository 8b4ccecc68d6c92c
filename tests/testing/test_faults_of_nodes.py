"""What ails simulated nodes, by the fixture and by annotation, in virtual time: and what a cluster makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj
from sampan.client.timeline import VirtualTimeline
from sampan.node.hollow import FAULT_ANNOTATION
from sampan.node.shapes import parse
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

TWO_ZONES = """
nodes:
- {name: a, labels: {topology.kubernetes.io/zone: a, node-role.kubernetes.io/worker: ""}}
- name: b
  labels: {topology.kubernetes.io/zone: b}
  taints: [{key: dedicated, value: batch, effect: NoSchedule}]
  capacity: {cpu: 2, memory: 4Gi, example.com/gpu: 1}
"""


def pod(name: str, node: str = "", **spec: Any) -> Obj:
    container = {"name": "c", "image": "any", **spec.pop("container", {})}
    meta = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": meta,
        "spec": {**({"nodeName": node} if node else {}), "containers": [container], **spec},
    }  # fmt: skip


def live(directory: Path, body: Callable[[Cluster], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def whole() -> None:
        timeline = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with Cluster(directory, clock=timeline, seed=1, listen=False, **options) as cluster:
            await body(cluster)

    virtual.run(whole())


async def ready(cluster: Cluster, node: str = "node-0") -> str:
    conditions = (await cluster.client.get(NODES, node))["status"]["conditions"]
    return str(next(each["status"] for each in conditions if each["type"] == "Ready"))


async def status(cluster: Cluster, name: str) -> Obj:
    found: Obj = (await cluster.client.get(PODS, name, "default"))["status"]
    return found


@pytest.mark.parametrize("fault", ["silent", "partitioned"])
def test_a_node_that_is_not_heard_of_is_unknown_until_it_is_heard_again(tmp_path: Path, fault: str) -> None:
    async def body(cluster: Cluster) -> None:
        client = cluster.client
        await client.create(PODS, pod("p", "node-0"))
        await asyncio.sleep(5)
        await client.patch(NODES, "node-0", {"metadata": {"annotations": {FAULT_ANNOTATION: fault}}})
        await client.create(PODS, pod("late", "node-0"))
        await asyncio.sleep(60)
        assert await ready(cluster) == "Unknown"
        assert "startTime" not in await status(cluster, "late")
        await client.patch(NODES, "node-0", {"metadata": {"annotations": {FAULT_ANNOTATION: None}}})
        await asyncio.sleep(15)
        assert await ready(cluster) == "True"
        assert (await status(cluster, "late"))["phase"] == "Running"
        # What ran all the time was let be.
        assert (await status(cluster, "p"))["containerStatuses"][0]["restartCount"] == 0

    live(tmp_path, body)


def test_a_partitioned_node_restarts_containers_by_itself_and_a_silent_one_does_not(tmp_path: Path) -> None:
    async def body(cluster: Cluster) -> None:
        for number, fault in enumerate(("silent", "partitioned")):
            name = f"node-{number}"
            await cluster.client.create(PODS, pod(f"p{number}", name))
            await asyncio.sleep(5)
            cluster.ail(name, fault)  # type: ignore[arg-type]  # both are faults
            await asyncio.sleep(1)
            [container] = await cluster.runtimes[name].list_containers()
            cluster.runtimes[name].exit_container(container.id, 1)
            await asyncio.sleep(20)
            running = [each for each in await cluster.runtimes[name].list_containers() if each.state == "running"]
            assert len(running) == number

    live(tmp_path, body, nodes=2)


def test_a_slow_node_takes_long_for_each_pod_and_crashing_ones_back_off(tmp_path: Path) -> None:
    async def body(cluster: Cluster) -> None:
        cluster.ail("node-0", "slow")
        await cluster.client.create(PODS, pod("p", "node-0"))
        await asyncio.sleep(10)
        assert (await status(cluster, "p"))["phase"] == "Pending"
        await asyncio.sleep(120)
        assert (await status(cluster, "p"))["phase"] == "Running"
        cluster.ail("node-0", "crashing")
        await asyncio.sleep(300)
        [container] = (await status(cluster, "p"))["containerStatuses"]
        assert container["restartCount"] >= 4 and container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        cluster.ail("node-0", None)
        await asyncio.sleep(600)
        assert (await status(cluster, "p"))["containerStatuses"][0]["ready"]

    live(tmp_path, body)


def test_nodes_of_several_shapes_are_scheduled_to_by_what_they_are(tmp_path: Path) -> None:
    async def body(cluster: Cluster) -> None:
        client = cluster.client
        nodes = {node["metadata"]["name"]: node for node in (await client.list(NODES))["items"]}
        assert nodes["a-0"]["metadata"]["labels"]["node-role.kubernetes.io/worker"] == ""
        assert nodes["b-0"]["status"]["capacity"] | {"hugepages-2Mi": "0"} == {
            "cpu": "2", "memory": "4Gi", "pods": "110", "ephemeral-storage": "100Gi", "hugepages-2Mi": "0",
            "example.com/gpu": "1",
        }  # fmt: skip
        assert len({node["status"]["addresses"][0]["address"] for node in nodes.values()}) == 2
        gpu = {"resources": {"limits": {"example.com/gpu": "1"}}}
        toleration = [{"key": "dedicated", "operator": "Exists"}]
        await client.create(PODS, pod("plain"))
        await client.create(PODS, pod("gpu", container=gpu, tolerations=toleration))
        await client.create(PODS, pod("more", container=gpu, tolerations=toleration))
        await asyncio.sleep(5)
        placed = {each["metadata"]["name"]: each["spec"].get("nodeName") for each in (await client.list(PODS))["items"]}
        assert placed["plain"] == "a-0" and {placed["gpu"], placed["more"]} == {"b-0", None}

    live(tmp_path, body, shapes=parse(TWO_ZONES))


def test_a_fault_that_nobody_knows_is_told_and_ails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(cluster: Cluster) -> None:
        await cluster.client.patch(NODES, "node-0", {"metadata": {"annotations": {FAULT_ANNOTATION: "slient"}}})
        await asyncio.sleep(120)
        assert await ready(cluster) == "True"

    live(tmp_path, body)
    told = [record.getMessage() for record in caplog.records if "is no fault" in record.getMessage()]
    assert told == ["simulated node node-0: 'slient' is no fault; there are silent, partitioned, slow, crashing"]
