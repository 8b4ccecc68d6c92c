"""Clusters of several simulated nodes: one pod network, and nothing on the machine that runs them."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)


def pod(name: str, node: str) -> Obj:
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "any"}]}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def running(client: Client, number: int) -> list[Obj]:
    found: dict[str, Obj] = {}
    async with asyncio.timeout(60), client.watch(PODS, "default") as events:
        async for event in events:
            if event.object.get("status", {}).get("phase") == "Running":
                found[event.object["metadata"]["name"]] = event.object
            if len(found) == number:
                break
    return list(found.values())


async def test_pods_of_several_nodes_have_addresses_of_their_own_nodes_ranges(tmp_path: Path) -> None:
    async with Cluster(tmp_path, nodes=3) as cluster:
        client = cluster.client
        for number in range(9):
            await client.create(PODS, pod(f"p{number}", f"node-{number % 3}"))
        pods = await running(client, 9)
        ranges = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in (await client.list(NODES))["items"]}
    addresses = [each["status"]["podIP"] for each in pods]
    assert len(set(addresses)) == 9 and len(set(ranges.values())) == 3
    for each in pods:
        assert ip_address(each["status"]["podIP"]) in ip_network(ranges[each["spec"]["nodeName"]])


async def test_hollow_nodes_touch_no_file_and_start_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Cluster(tmp_path, nodes=2) as cluster:
        client = cluster.client
        before = set(tmp_path.rglob("*"))
        threads = threading.active_count()

        async def refuse(*arguments: object, **named: object) -> None:
            raise AssertionError(f"a thread was asked for: {arguments}")

        monkeypatch.setattr(asyncio, "to_thread", refuse)
        await client.create(PODS, pod("p0", "node-0"))
        await client.create(PODS, pod("p1", "node-1"))
        await running(client, 2)
        assert set(tmp_path.rglob("*")) == before
        assert threading.active_count() == threads
        monkeypatch.undo()
