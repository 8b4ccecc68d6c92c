"""What a cluster is given beside its bootstrap objects."""

from __future__ import annotations

import dataclasses
from random import Random

from sampan.api.resources import CONFIG_MAPS, SERVICES
from sampan.client.client import Client
from sampan.cluster import addons
from sampan.cluster.settings import ClusterSettings
from sampan.server.app import Server
from sampan.server.config import ServerConfig


async def test_addons_are_there_after_every_start_of_the_control_plane() -> None:
    settings = ClusterSettings()
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        client = Client(server.local_transport())
        await addons.ensure(client, settings)
        await addons.ensure(client, settings)
        service = await client.get(SERVICES, "kube-dns", "kube-system")
        assert service["spec"]["clusterIP"] == settings.dns_ips[0]


async def test_a_pool_that_up_was_given_stands_beside_those_that_somebody_wrote() -> None:
    """Given anew it replaces its former ranges alone; not given it is left as it is."""
    async with Server(ServerConfig(listen=False, random=Random(1))) as server:
        client = Client(server.local_transport())
        first = ClusterSettings(loadbalancer_pool="192.0.2.10-192.0.2.20")
        await addons.ensure(client, first)
        await client.patch(CONFIG_MAPS, "sampan-loadbalancer", {"data": {"lab": "198.51.100.0/28"}}, "kube-system")
        await addons.ensure(client, dataclasses.replace(first, loadbalancer_pool="192.0.2.30"))
        await addons.ensure(client, ClusterSettings())
        pools = await client.get(CONFIG_MAPS, "sampan-loadbalancer", "kube-system")
        assert pools["data"] == {"default": "192.0.2.30", "lab": "198.51.100.0/28"}
