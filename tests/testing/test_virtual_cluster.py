"""A whole cluster in virtual time: hours of it in a test, and every loop in step."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan.api.clock import parse_time
from sampan.api.resources import DEPLOYMENTS, NODES, PODS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)

START = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(replicas: int) -> Obj:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "any"}]}},
        },
    }  # fmt: skip


async def ready(client: Client, node: str) -> str:
    conditions = (await client.get(NODES, node))["status"]["conditions"]
    return str(next(each["status"] for each in conditions if each["type"] == "Ready"))


async def until_available(client: Client, number: int) -> None:
    async with client.watch(DEPLOYMENTS, "default") as events:
        async for event in events:
            if event.object.get("status", {}).get("availableReplicas") == number:
                return


def test_a_lost_nodes_pods_are_made_again_elsewhere_after_the_time_that_upstream_takes(tmp_path: Path) -> None:
    async def live() -> None:
        timeline = VirtualTimeline(START)
        async with Cluster(tmp_path, nodes=2, clock=timeline, seed=1, listen=False) as cluster:
            client = cluster.client
            await client.create(DEPLOYMENTS, deployment(4))
            await until_available(client, 4)
            lost = timeline.now()
            await cluster.stop_node("node-0")
            await asyncio.sleep(30)
            assert await ready(client, "node-0") == "True"
            await asyncio.sleep(40)
            assert await ready(client, "node-0") == "Unknown"
            # The pods tolerate that for five minutes.
            await asyncio.sleep(600)
            pods = (await client.list(PODS, "default"))["items"]
            serving = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
            assert {pod["spec"]["nodeName"] for pod in serving} == {"node-1"} and len(serving) == 4
            replaced = max(parse_time(pod["metadata"]["creationTimestamp"]) for pod in serving) - lost
            assert timedelta(seconds=340) <= replaced <= timedelta(seconds=400)

            await cluster.start_node("node-0")
            await asyncio.sleep(15)
            assert await ready(client, "node-0") == "True"
            assert await ready(client, "node-1") == "True"

    virtual.run(live())


def test_a_quiet_day_ends_with_every_node_ready(tmp_path: Path) -> None:
    async def live() -> datetime:
        timeline = VirtualTimeline(START)
        async with Cluster(tmp_path, nodes=1, clock=timeline, seed=1, listen=False) as cluster:
            for _ in range(4):
                await asyncio.sleep(900)
                assert await ready(cluster.client, "node-0") == "True"
        return timeline.now()

    assert virtual.run(live()) >= START + timedelta(hours=1)
