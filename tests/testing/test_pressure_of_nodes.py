"""A node that is short of something, and what a cluster makes of it: in virtual time, the whole of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.api.resources import NODES, PODS
from sampan.client.timeline import VirtualTimeline
from sampan.node.host_memory import MemoryHost
from sampan.node.thresholds import DEFAULT_HARD, parse_thresholds
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

#: processes are not watched by default
THRESHOLDS = parse_thresholds({**DEFAULT_HARD, "pid.available": "10%"})


def without_memory(host: MemoryHost) -> None:
    host.present_load = replace(host.present_load, memory_available_bytes=1)


def without_disk(host: MemoryHost) -> None:
    host.present_disk = replace(host.present_disk, free_bytes=1)


def without_inodes(host: MemoryHost) -> None:
    host.present_disk = replace(host.present_disk, inodes=1000, inodes_free=1)


def without_processes(host: MemoryHost) -> None:
    host.present_load = replace(host.present_load, tasks=host.present_load.task_limit)


async def pressures(cluster: Cluster) -> tuple[set[str], set[str]]:
    """What the node says, and what keeps pods away from it."""
    node = await cluster.client.get(NODES, "node-0")
    listed, tainted = node["status"]["conditions"], (node.get("spec") or {}).get("taints") or ()
    said = {each["type"] for each in listed if each["type"].endswith("Pressure") and each["status"] == "True"}
    return said, {each["key"] for each in tainted if each["effect"] == "NoSchedule"}


async def until(cluster: Cluster, condition: str, taint: str, *, seconds: float) -> None:
    """``""``: none at all."""
    wanted = ({condition}, {taint}) if condition else (set(), set())
    async with asyncio.timeout(seconds):
        while (await pressures(cluster)) != wanted:  # noqa: ASYNC110 (virtual time)
            await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("shorten", "condition", "taint", "resource"),
    [
        (without_memory, "MemoryPressure", "node.kubernetes.io/memory-pressure", "memory"),
        (without_disk, "DiskPressure", "node.kubernetes.io/disk-pressure", "ephemeral-storage"),
        (without_inodes, "DiskPressure", "node.kubernetes.io/disk-pressure", "inodes"),
        (without_processes, "PIDPressure", "node.kubernetes.io/pid-pressure", "pids"),
    ],
    ids=["memory", "disk", "inodes", "processes"],
)
def test_the_taint_of_a_pressure_comes_keeps_pods_away_and_goes(
    tmp_path: Path, shorten: Callable[[MemoryHost], None], condition: str, taint: str, resource: str
) -> None:
    async def body(cluster: Cluster) -> None:
        node = cluster._hollow.get("node-0")
        assert node is not None
        node.config = replace(node.config, eviction_thresholds=THRESHOLDS)
        node.ail("silent")
        node.ail(None)  # with another agent, of these thresholds
        host = node.host
        usual = host.present_load, host.present_disk
        meta, spec = {"name": "p", "namespace": "default"}, {"containers": [{"name": "c", "image": "any"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        await cluster.client.create(PODS, {**pod, "spec": {**spec, "nodeName": "node-0"}})
        await asyncio.sleep(5)

        shorten(host)
        await until(cluster, condition, taint, seconds=60)
        status = (await cluster.client.get(PODS, "p", "default"))["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
        assert status["message"].startswith(f"The node was low on resource: {resource}. ")
        host.present_load, host.present_disk = usual
        await cluster.client.create(PODS, {**pod, "metadata": {**meta, "name": "later"}})
        await asyncio.sleep(30)
        waiting = (await cluster.client.get(PODS, "later", "default"))["status"]
        assert waiting["phase"] == "Pending"  # of BestEffort: the scheduler keeps it away

        await until(cluster, "", "", seconds=400)
        async with asyncio.timeout(60):
            while (await cluster.client.get(PODS, "later", "default"))["status"]["phase"] != "Running":  # noqa: ASYNC110
                await asyncio.sleep(1)

    async def whole() -> None:
        timeline = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with Cluster(tmp_path, clock=timeline, seed=1, listen=False) as cluster:
            await body(cluster)

    virtual.run(whole())
