"""A machine knows the API servers of its cluster: from the endpoints while it runs, from a file when it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sampan.api.resources import ENDPOINT_SLICES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.servers import Servers
from sampan.cluster import servers
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.server.app import Server
from sampan.server.config import ServerConfig


def instance(tmp_path: Path, *roles: str) -> Instance:
    settings = NodeSettings("n1", address="192.0.2.1", roles=roles or ("node",))
    return Instance(ClusterSettings("one", api_address="192.0.2.9"), tmp_path / "state", tmp_path / "run", settings)


def piece(*addresses: str, port: int = 6443, name: str = "kubernetes", **more: Any) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, **more} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }  # fmt: skip


def test_a_machine_that_has_no_list_asks_the_address_that_it_was_given(tmp_path: Path) -> None:
    assert servers.of(instance(tmp_path)).urls == ("https://192.0.2.9:6443",)


def test_a_machine_with_a_control_plane_asks_its_own_first(tmp_path: Path) -> None:
    made = instance(tmp_path, "control-plane", "node")
    servers.write(made, ["https://192.0.2.2:6443", "https://192.0.2.3:6443"])
    found = servers.of(made).urls
    assert found[0] == "https://127.0.0.1:6443"
    assert set(found[1:]) == {"https://192.0.2.2:6443", "https://192.0.2.3:6443"}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"servers": 5}', '{"servers": []}', '{"servers": [1, "x"]}'])
def test_a_damaged_list_is_none(tmp_path: Path, text: str) -> None:
    made = instance(tmp_path)
    made.state.mkdir(parents=True)
    made.servers_file.write_text(text)
    assert servers.of(made).urls == ("https://192.0.2.9:6443",)


def test_where_the_servers_are_is_read_from_the_slices_of_the_kubernetes_service() -> None:
    found = [
        piece("192.0.2.10", "192.0.2.9", "not-an-address"),
        piece("2001:db8::1"),
        piece("192.0.2.66", name="somebody-elses"),
        piece("192.0.2.11", conditions={"ready": False}),
        {"metadata": {"name": "kubernetes"}, "endpoints": "damaged"},
    ]
    assert servers.urls_of(found) == (
        "https://192.0.2.9:6443",
        "https://192.0.2.10:6443",
        "https://[2001:db8::1]:6443",
    )
    assert servers.urls_of(found[:1], without=["192.0.2.9"]) == ("https://192.0.2.10:6443",)


@asynccontextmanager
async def following(made: Instance) -> AsyncIterator[tuple[Client, Servers]]:
    async with Server(ServerConfig(listen=False, openapi=False, bootstrap=False, random=Random(1))) as server:
        client = Client(server.local_transport())
        await client.raw("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
        asked = servers.of(made)
        task = asyncio.ensure_future(servers.follow(client, made, asked, Random(1)))
        try:
            yield client, asked
        finally:
            await tasks.cancel_and_wait(task)


async def until_kept(made: Instance, *urls: str) -> None:
    async with asyncio.timeout(10):
        while servers.read(made).urls != urls:  # noqa: ASYNC110  # a file
            await asyncio.sleep(0.005)


async def test_the_list_and_its_file_follow_the_cluster(tmp_path: Path) -> None:
    made = instance(tmp_path)
    async with following(made) as (client, asked):
        await client.create(ENDPOINT_SLICES, piece("192.0.2.9", "192.0.2.8"), "default")
        await until_kept(made, "https://192.0.2.8:6443", "https://192.0.2.9:6443")
        assert set(asked.urls) == {"https://192.0.2.8:6443", "https://192.0.2.9:6443"}
        one = {"endpoints": piece("192.0.2.8")["endpoints"]}
        await client.patch(ENDPOINT_SLICES, "kubernetes", one, "default")
        await until_kept(made, "https://192.0.2.8:6443")
        assert asked.urls == ("https://192.0.2.8:6443",)
        await client.patch(ENDPOINT_SLICES, "kubernetes", {"endpoints": []}, "default")
        await client.delete(ENDPOINT_SLICES, "kubernetes", "default")
        assert asked.urls == ("https://192.0.2.8:6443",), "without any the last ones are better than none"
    assert servers.of(made).urls == ("https://192.0.2.8:6443",)


async def test_a_balancers_address_is_not_replaced(tmp_path: Path) -> None:
    made = instance(tmp_path)
    servers.write(made, ["https://balancer.example:6443"], follow=False)
    other = instance(tmp_path / "other")
    async with following(made) as (client, asked):
        beside = asyncio.ensure_future(servers.follow(client, other, servers.of(other), Random(1)))
        await client.create(ENDPOINT_SLICES, piece("192.0.2.8"), "default")
        await until_kept(other, "https://192.0.2.8:6443")  # so it was told to both
        assert asked.urls == ("https://balancer.example:6443",)
        await tasks.cancel_and_wait(beside)
    assert servers.read(made).urls == ("https://balancer.example:6443",)
