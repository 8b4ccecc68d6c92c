"""The network part of the node process: the service proxy, what LoadBalancers need of a node, and their informers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.api.clock import SystemClock
from sampan.api.resources import INGRESSES, SERVICES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.cluster import lifeline, network_policy, podnetwork
from sampan.cluster.instance import Instance
from sampan.edge.gateway.names import GATEWAYS
from sampan.edge.waiting import wanted
from sampan.keeping import Keeper
from sampan.network.dns.records import DNS_SERVICE, is_dns_of_others
from sampan.network.loadbalancer.announcer import Announcer
from sampan.network.loadbalancer.hostports import HostPorts
from sampan.network.loadbalancer.link import KernelLink
from sampan.network.policy.enforcer import PolicyEnforcer
from sampan.network.proxy import ProxyConfig, ServiceProxy, bridge_is_filtered, modes

if TYPE_CHECKING:
    from sampan.edge.config import EdgeConfig
    from sampan.edge.source import Source


def proxy_config(instance: Instance, node_range: str, *, own_dns: bool = True) -> ProxyConfig:
    """``node_range``: the addresses of this node's pods. ``own_dns``: its DNS process answers the cluster."""
    return ProxyConfig(
        instance=instance.name,
        node_name=instance.node.name,
        node_address=instance.node.address,
        node_pod_cidr=node_range,
        cluster_pod_cidr=instance.cluster.pod_cidr,
        bridge=instance.bridge,
        service_cidr=instance.cluster.service_cidr,
        dns_ip=",".join(instance.cluster.dns_ips) if own_dns else "",
        dns_port=instance.node.dns_port,
        bridge_filtered=bridge_is_filtered(),
        node_port_addresses=instance.node.nodeport_addresses,
    )


def edge_config(instance: Instance) -> EdgeConfig:
    from sampan.edge.config import EdgeConfig

    node = instance.node
    address = next(iter(node.addresses), "")
    return EdgeConfig(
        directory=instance.edge,
        run=instance.run / "edge",
        log=instance.logs / "ingress.log",
        instance=instance.name,
        node_name=node.name,
        address=address,
        http_port=node.ingress_http_port,
        https_port=node.ingress_https_port,
        dns=(f"{address}:{node.dns_port}",),
        classes=tuple(filter(None, (name.strip() for name in instance.cluster.ingress_classes.split(",")))),
    )


async def run_edge(client: Client, informers: InformerFactory, instance: Instance) -> None:
    """Ingresses and Gateways: until cancelled. The program that serves them goes on, unless the whole instance
    stops."""
    await wanted(client, [INGRESSES, GATEWAYS], instance.run / "edge")
    # Late: most machines have neither, and then none of this in memory.
    from sampan.edge.edge import Edge
    from sampan.edge.gateway.source import GatewaySource
    from sampan.edge.ingress.source import IngressSource

    config, clock = edge_config(instance), SystemClock()
    node = instance.node
    taken = frozenset((instance.cluster.api_port, node.kubelet_port, node.dns_port))
    sources: list[Source] = [
        IngressSource(client, informers, config, clock),
        GatewaySource(client, informers, config, clock, taken),
    ]
    await Edge(config, sources, clock, lambda: lifeline.is_stopping(instance)).run()


async def run_network(
    client: Client, instance: Instance, kubelet: Client, enforcer: PolicyEnforcer, ingress: Client
) -> None:
    """Until cancelled. Each part that fails is started again, alone. ``kubelet`` may write the Node, ``ingress`` what
    Ingresses are told."""
    informers = InformerFactory(client)
    async with Keeper() as keeper:
        keeper.keep("pod-network", lambda: run_pod_network(client, informers, instance))
        # Elsewhere pods of other nodes are another network's business, or the routers'.
        if not instance.node.cni_conf_dir and instance.cluster.pod_network_backend != "none":
            keeper.keep("pod-routes", lambda: run_pod_routes(client, instance, kubelet))
        keeper.keep("network-policy", lambda: network_policy.run(enforcer))
        node_name = instance.node.name
        keeper.keep("load-balancers", lambda: Announcer(client, informers, node_name, KernelLink()).run())
        keeper.keep("host-ports", lambda: HostPorts(kubelet, node_name).run())
        if instance.node.ingress:
            keeper.keep("ingress", lambda: run_edge(ingress, informers, instance))
        keeper.keep("informers", informers.run)
        await tasks.forever()


async def run_pod_routes(client: Client, instance: Instance, kubelet: Client) -> None:
    """Ways to the pods of the other nodes, until cancelled. ``kubelet`` may write the Node."""
    await podnetwork.pod_routes(client, instance, kubelet).run()


async def run_pod_network(client: Client, informers: InformerFactory, instance: Instance) -> None:
    """Pod network and service proxy for the range that the node was given, and anew when it is given another."""
    dns = ClusterDns(informers)
    given = await podnetwork.node_range(client, instance.node.name)
    while True:
        podnetwork.write_config(instance, given)
        proxy = asyncio.create_task(run_proxy(informers, instance, given, dns), name="service-proxy")
        moved = asyncio.create_task(
            podnetwork.node_range(client, instance.node.name, other_than=given), name="pod range"
        )
        try:
            await asyncio.wait([proxy, moved], return_when=asyncio.FIRST_COMPLETED)
            if proxy.done():
                proxy.result()
            # What cannot be followed any more ends this, to begin anew: it must not wait for another range.
            given = moved.result()
        finally:
            await tasks.cancel_and_wait(proxy, moved)


async def run_proxy(informers: InformerFactory, instance: Instance, node_range: str, dns: ClusterDns) -> None:
    """Until cancelled; another one when pods take the cluster's DNS over, or leave it."""
    node = instance.node
    await dns.synced()
    while True:
        own_dns = dns.is_ours
        config = proxy_config(instance, node_range, own_dns=own_dns)
        await modes.clear_other(node.proxy_mode, instance.name, podnetwork.proxy_mode_file(instance))
        backend = modes.make(node.proxy_mode, config, ipvs_scheduler=node.ipvs_scheduler)
        proxy = asyncio.create_task(ServiceProxy(informers, config, backend).run(), name="service-proxy")
        changed = asyncio.create_task(dns.becomes(not own_dns), name="cluster DNS")
        try:
            await asyncio.wait([proxy, changed], return_when=asyncio.FIRST_COMPLETED)
            if proxy.done():
                proxy.result()
            changed.result()
        finally:
            await tasks.cancel_and_wait(proxy, changed)


class ClusterDns:
    """Who answers the cluster's questions: each node's own process, or the pods that the DNS Service selects."""

    def __init__(self, informers: InformerFactory) -> None:
        self._services = informers.informer(SERVICES)

    async def synced(self) -> None:
        await self._services.synced()

    @property
    def is_ours(self) -> bool:
        service = self._services.get(*DNS_SERVICE)
        return service is None or not is_dns_of_others(service)

    async def becomes(self, ours: bool) -> None:
        """However often what shows Services begins anew meanwhile, which cancels whoever waits there."""
        while True:
            try:
                return await self._services.wait_until(lambda: self.is_ours is ours)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
            await asyncio.sleep(podnetwork.RETRY_SECONDS)
