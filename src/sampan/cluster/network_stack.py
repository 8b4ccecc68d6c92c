"""The network part of the node process: the service proxy and its informers."""

from __future__ import annotations

from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.cluster.instance import Instance
from sampan.keeping import Keeper
from sampan.network.proxy.config import ProxyConfig, bridge_is_filtered
from sampan.network.proxy.proxy import ServiceProxy


def proxy_config(instance: Instance) -> ProxyConfig:
    settings = instance.settings
    return ProxyConfig(
        instance=instance.name,
        node_name=settings.node_name,
        node_address=settings.node_address,
        node_pod_cidr=settings.node_pod_cidr,
        cluster_pod_cidr=settings.pod_cidr,
        dns_ip=settings.dns_ip,
        dns_port=settings.dns_port,
        bridge_filtered=bridge_is_filtered(),
    )


async def run_network(client: Client, instance: Instance) -> None:
    """Until cancelled. Each part that fails is started again, alone."""
    informers = InformerFactory(client)
    async with Keeper() as keeper:
        keeper.keep("service-proxy", lambda: ServiceProxy(informers, proxy_config(instance)).run())
        keeper.keep("informers", informers.run)
        await tasks.forever()
