"""One Service as chains and map elements. Pure.

Chains, named after the Service's port: ``service/…`` balances over the endpoints for policy Cluster, ``local/…`` over
this node's, ``external/…`` is where node ports and external addresses enter, ``endpoint/…`` exist only with session
affinity, ``firewall/…`` only with loadBalancerSourceRanges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.endpoints import Choice
from sampan.network.proxy.model import Endpoint, ServicePort
from sampan.network.proxy.nftables import base
from sampan.network.proxy.nftables.nft import Chain, Collection
from sampan.network.proxy.nftables.table import Contents
from sampan.network.proxy.plan import ServicePlan


def render_service(plan: ServicePlan, config: ProxyConfig) -> Contents:
    """What the table needs for a Service."""
    contents = Contents()
    for each in plan.ports:
        _Port(each.port, each.choice, config, contents).run()
    return contents


class _Port:
    """Adds one port to the contents."""

    def __init__(self, port: ServicePort, choice: Choice, config: ProxyConfig, contents: Contents) -> None:
        self.port = port
        self.choice = choice
        self.config = config
        self.contents = contents

    def run(self) -> None:
        port, choice = self.port, self.choice
        self.contents.put(base.CLUSTER_IPS, port.cluster_ip)
        for endpoint in {*choice.cluster, *choice.local}:
            self.contents.put(base.HAIRPIN, f"{endpoint.ip} . {endpoint.ip}")
        external_cluster = port.reached_from_outside and choice.anywhere
        service = ""
        if choice.cluster and (external_cluster or not port.internal_local):
            service = self._balancer("service", choice.cluster)
        local = ""
        if choice.local and (port.internal_local or (port.external_local and port.reached_from_outside)):
            local = self._balancer("local", choice.local)
        self._cluster_ip(local if port.internal_local else service)
        if port.reached_from_outside:
            self._outside(service, local)

    def _cluster_ip(self, chain: str) -> None:
        port = self.port
        if port.cluster_ip == self.config.dns_ip and port.port == 53:
            return  # the node's own DNS server answers there (``base``)
        self._address(port.cluster_ip, chain)

    def _address(self, address: str, chain: str) -> None:
        key = f"{address} . {self.port.protocol} . {self.port.port}"
        if chain:
            self.contents.put(base.SERVICE_IPS, key, f"goto {chain}")
        else:
            self.contents.put(base.NO_ENDPOINT_IPS, key, f"goto {self._refusal()}")

    def _outside(self, service: str, local: str) -> None:
        port = self.port
        external = ""
        if service or local:
            external = f"external/{port.label}"
            self.contents.chains[Chain(external)] = self._external_rules(service, local)
        for address in (*port.external_ips, *port.load_balancer_ips):
            self._address(address, external)
        if port.source_ranges:
            self._firewall()
        if port.node_port:
            key = f"{port.protocol} . {port.node_port}"
            if external:
                self.contents.put(base.SERVICE_NODEPORTS, key, f"goto {external}")
            else:
                self.contents.put(base.NO_ENDPOINT_NODEPORTS, key, f"goto {base.REJECT_CHAIN}")

    def _external_rules(self, service: str, local: str) -> tuple[str, ...]:
        if not self.port.external_local:
            return (f"jump {base.MARK_CHAIN}", f"goto {service}")
        # Pods and the node itself are not "outside": they may use every endpoint.
        inside = (
            f"ip saddr {self.config.cluster_pod_cidr} goto {service}",
            f"fib saddr type local jump {base.MARK_CHAIN}",
            f"fib saddr type local goto {service}",
        )
        return (*(inside if service else ()), f"goto {local}" if local else "drop")

    def _firewall(self) -> None:
        port = self.port
        chain = f"firewall/{port.label}"
        self.contents.chains[Chain(chain)] = (f"ip saddr != {{ {', '.join(port.source_ranges)} }} drop",)
        for address in port.load_balancer_ips:
            self.contents.put(base.FIREWALL_IPS, f"{address} . {port.protocol} . {port.port}", f"goto {chain}")

    def _refusal(self) -> str:
        # With endpoints elsewhere, policy Local is silence; without any, a clear refusal.
        return base.DROP_CHAIN if self.choice.anywhere else base.REJECT_CHAIN

    def _balancer(self, prefix: str, endpoints: Sequence[Endpoint]) -> str:
        """A chain that sends each new connection to one of the endpoints; returns its name."""
        chain = f"{prefix}/{self.port.label}"
        if self.port.affinity_seconds:
            rules = self._sticky_rules(endpoints)
        elif len(endpoints) == 1:
            rules = (f"{self._transport} dnat ip to {endpoints[0].ip}:{endpoints[0].port}",)
        else:
            targets = (f"{endpoint.ip} . {endpoint.port}" for endpoint in endpoints)
            rules = (f"{self._transport} dnat ip to {_random_of(targets, len(endpoints), 'map')}",)
        self.contents.chains[Chain(chain)] = rules
        return chain

    @property
    def _transport(self) -> str:
        return f"meta l4proto {self.port.protocol}"

    def _sticky_rules(self, endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
        """A client goes where it went before, while that endpoint is here and the client was seen lately."""
        chains: list[str] = []
        known: list[str] = []
        for endpoint in endpoints:
            label = f"{self.port.label}/{endpoint.ip}/{endpoint.port}"
            # The timeout is part of the name: a set cannot change it.
            clients = Collection(
                f"affinity/{label}/{self.port.affinity_seconds}", "set", "ipv4_addr", self.port.affinity_seconds
            )
            self.contents.collections[clients] = {}
            chain = f"endpoint/{label}"
            self.contents.chains[Chain(chain)] = (
                f"update @{clients.name} {{ ip saddr }}",
                f"{self._transport} dnat ip to {endpoint.ip}:{endpoint.port}",
            )
            chains.append(f"goto {chain}")
            known.append(f"ip saddr @{clients.name} goto {chain}")
        return (*known, _random_of(chains, len(chains), "vmap"))


def _random_of(targets: Iterable[str], count: int, kind: str) -> str:
    entries = ", ".join(f"{index} : {target}" for index, target in enumerate(targets))
    return f"numgen random mod {count} {kind} {{ {entries} }}"
