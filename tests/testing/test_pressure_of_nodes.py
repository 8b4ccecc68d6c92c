"""A node that is short of memory, and what a cluster makes of it: in virtual time, the whole of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.api.resources import NODES, PODS
from sampan.client.timeline import VirtualTimeline
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

TAINT = "node.kubernetes.io/memory-pressure"


async def taints(cluster: Cluster) -> list[str]:
    spec = (await cluster.client.get(NODES, "node-0")).get("spec") or {}
    return [taint["key"] for taint in spec.get("taints") or ()]


async def until(cluster: Cluster, *, tainted: bool, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while (TAINT in await taints(cluster)) != tainted:  # noqa: ASYNC110 (virtual time)
            await asyncio.sleep(1)


def test_the_taint_of_a_pressure_comes_keeps_pods_away_and_goes(tmp_path: Path) -> None:
    async def body(cluster: Cluster) -> None:
        node = cluster._hollow.get("node-0")
        assert node is not None
        usual = node.host.present_load
        meta, spec = {"name": "p", "namespace": "default"}, {"containers": [{"name": "c", "image": "any"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        await cluster.client.create(PODS, {**pod, "spec": {**spec, "nodeName": "node-0"}})
        await asyncio.sleep(5)

        node.host.present_load = replace(usual, memory_available_bytes=1)
        await until(cluster, tainted=True, seconds=60)
        status = (await cluster.client.get(PODS, "p", "default"))["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
        node.host.present_load = usual
        await cluster.client.create(PODS, {**pod, "metadata": {**meta, "name": "later"}})
        await asyncio.sleep(30)
        waiting = (await cluster.client.get(PODS, "later", "default"))["status"]
        assert waiting["phase"] == "Pending"  # of BestEffort: the scheduler keeps it away

        await until(cluster, tainted=False, seconds=400)
        async with asyncio.timeout(60):
            while (await cluster.client.get(PODS, "later", "default"))["status"]["phase"] != "Running":  # noqa: ASYNC110
                await asyncio.sleep(1)

    async def whole() -> None:
        timeline = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with Cluster(tmp_path, clock=timeline, seed=1, listen=False) as cluster:
            await body(cluster)

    virtual.run(whole())
