"""A machine runs what its roles need, and its pods have the range that its own Node object names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import orjson
import pytest

from sampan.api.resources import NODES
from sampan.client.client import Client
from sampan.cluster import podnetwork
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.supervisor import programs
from sampan.server.app import Server
from sampan.server.config import ServerConfig


@pytest.mark.parametrize(
    ("roles", "names"),
    [
        (("control-plane", "node"), ["containerd", "server", "dns", "node"]),
        (("control-plane",), ["server"]),
        (("node",), ["containerd", "dns", "node"]),
    ],
)
def test_a_machine_runs_the_programs_of_its_roles(roles: tuple[str, ...], names: list[str]) -> None:
    instance = Instance(ClusterSettings(), node=NodeSettings(roles=roles))
    assert [program.name for program in programs(instance)] == names


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        yield Client(server.local_transport())


def node(name: str, given: str = "") -> dict[str, object]:
    spec = {"podCIDR": given, "podCIDRs": [given]} if given else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}


async def test_the_range_is_waited_for_and_read_from_the_nodes_own_object(client: Client) -> None:
    waiting = asyncio.create_task(podnetwork.node_range(client, "mine"))
    await client.create(NODES, node("other", "10.9.0.0/24"))
    await client.create(NODES, node("mine"))
    await client.patch(NODES, "mine", {"spec": {"podCIDR": "10.8.3.0/26", "podCIDRs": ["10.8.3.0/26"]}})
    assert await waiting == "10.8.3.0/26"


async def test_a_node_that_was_made_anew_may_have_another_range(client: Client) -> None:
    await client.create(NODES, node("mine", "10.8.0.0/24"))
    moved = asyncio.create_task(podnetwork.node_range(client, "mine", other_than="10.8.0.0/24"))
    await client.delete(NODES, "mine")
    await client.create(NODES, node("mine", "10.8.7.0/24"))
    assert await moved == "10.8.7.0/24"


def test_the_pod_network_is_configured_for_that_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.network.cni.SYSCTLS", {})
    instance = Instance(ClusterSettings("one"), tmp_path, tmp_path)
    podnetwork.write_config(instance, "10.8.3.0/26")
    (written,) = instance.cni_conf.glob("*.conflist")
    bridge, _ = orjson.loads(written.read_bytes())["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.8.3.0/26"}]]
