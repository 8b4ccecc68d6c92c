"""What a cluster is given beside its bootstrap objects."""

from __future__ import annotations

from random import Random

from sampan.api.resources import SERVICES
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
        assert service["spec"]["clusterIP"] == settings.dns_ip
