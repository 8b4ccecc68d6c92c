"""One Service as chains and map elements. Pure but for the numbers of endpoints (``blocks``).

Most need no chain (``spread``). Those of the others are named after the Service's port: ``service/…`` balances over the
endpoints for policy Cluster, ``local/…`` over this node's, ``external/…`` is where node ports and external addresses
enter, ``endpoint/…`` exist only with session affinity, ``firewall/…`` only with loadBalancerSourceRanges.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sampan.network.proxy.config import DNS_PORTS, FamilyConfig, ProxyConfig
from sampan.network.proxy.model import Endpoint
from sampan.network.proxy.nftables import base, sets, spread
from sampan.network.proxy.nftables.blocks import Blocks
from sampan.network.proxy.plan import PortPlan, ServiceKey, ServicePlan
from sampan.network.proxy.rules.table import Contents
from sampan.network.proxy.rules.values import Chain, Collection

#: Endpoints that remember their clients, of all ports of a Service: each costs a set and a chain, and the kernel looks
#: through all of these for the name of a new one. Where there are more, a client's address says where it goes.
MOST_STICKY = 500


def render_service(plan: ServicePlan, config: ProxyConfig, blocks: Blocks) -> Contents:
    """What the table needs for a Service; nothing in a family that the cluster's pods do not have."""
    contents = Contents()
    families = {family.version: family for family in config.families}
    sticky = sum(len(each.choice.cluster) + len(each.choice.local) for each in plan.ports if each.port.affinity_seconds)
    for each in plan.ports:
        family = families.get(each.port.family)
        if family is not None:
            rendering = PortRendering(plan.key, each, family, contents, blocks)
            rendering.by_hash = sticky > MOST_STICKY
            rendering.run()
    return contents


class PortRendering:
    """Adds one port to the contents. ``ipvs`` replaces what leads to endpoints."""

    def __init__(
        self, key: ServiceKey, plan: PortPlan, family: FamilyConfig, contents: Contents, blocks: Blocks
    ) -> None:
        self.key = key
        self.port = plan.port
        self.choice = plan.choice
        self.family = family
        self.sets = sets.OF[family.version]
        self.contents = contents
        self.blocks = blocks
        self.by_hash = False

    def run(self) -> None:
        port, choice = self.port, self.choice
        self.contents.put(self.sets.cluster_ips, port.cluster_ip)
        for endpoint in {*choice.cluster, *choice.local}:
            self.contents.put(self.sets.hairpin, f"{endpoint.ip} . {endpoint.ip}")
        self._cluster_ip(choice.local if port.internal_local else choice.cluster)
        if port.reached_from_outside:
            self._outside()

    def _cluster_ip(self, endpoints: Sequence[Endpoint]) -> None:
        port = self.port
        if port.cluster_ip == self.family.dns_ip and (port.protocol, port.port) in DNS_PORTS:
            return  # the node's own DNS server answers there (``base``)
        if self._is_spread(endpoints):
            self._spread(port.cluster_ip, endpoints)
        elif endpoints:
            name = "local" if port.internal_local else "service"
            self._lead(port.cluster_ip, self._balancer(name, endpoints))
        else:
            self._refuse(port.cluster_ip)

    def _outside(self) -> None:
        port, choice = self.port, self.choice
        addresses = (*port.external_ips, *port.load_balancer_ips)
        if port.source_ranges:
            self._firewall()
        if not choice.cluster and not choice.local:
            for address in addresses:
                self._refuse(address)
            if port.node_port:
                self.contents.put(self.sets.no_endpoint_nodeports, self._node_port_key)
        elif not port.external_local and self._is_spread(choice.cluster):
            self._spread_outside(addresses)
        else:
            self._chain_outside(addresses)

    @property
    def _node_port_key(self) -> str:
        return f"{self.port.protocol} . {self.port.node_port}"

    def _key(self, address: str) -> str:
        return f"{address} . {self.port.protocol} . {self.port.port}"

    def _is_spread(self, endpoints: Sequence[Endpoint]) -> bool:
        port = self.port
        return bool(endpoints) and not port.affinity_seconds and spread.is_spread(port.protocol, endpoints)

    def _spread(self, address: str, endpoints: Sequence[Endpoint]) -> None:
        collection = self.sets.spread_ips(self.port.protocol, spread.places(len(endpoints)))
        for place, target in spread.targets(endpoints):
            self.contents.put(collection, f"{address} . {self.port.port} . {place}", target)

    def _spread_outside(self, addresses: Sequence[str]) -> None:
        port, endpoints = self.port, self.choice.cluster
        for address in addresses:
            self.contents.put(self.sets.masqueraded_ips, self._key(address))
            self._spread(address, endpoints)
        if port.node_port:
            self.contents.put(self.sets.masqueraded_nodeports, self._node_port_key)
            collection = self.sets.spread_nodeports(port.protocol, spread.places(len(endpoints)))
            for place, target in spread.targets(endpoints):
                self.contents.put(collection, f"{port.node_port} . {place}", target)

    def _chain_outside(self, addresses: Sequence[str]) -> None:
        port, choice = self.port, self.choice
        service = self._balancer("service", choice.cluster) if choice.cluster else ""
        local = self._balancer("local", choice.local) if choice.local and port.external_local else ""
        external = f"external/{port.label}"
        self.contents.chains[Chain(external)] = self._external_rules(service, local)
        for address in addresses:
            self._lead(address, external)
        if port.node_port:
            self.contents.put(self.sets.service_nodeports, self._node_port_key, f"goto {external}")

    def _lead(self, address: str, chain: str) -> None:
        self.contents.put(self.sets.service_ips, self._key(address), f"goto {chain}")

    def _refuse(self, address: str) -> None:
        # With endpoints elsewhere, policy Local is silence; without any, a clear refusal.
        refusing = self.sets.silent_ips if self.choice.anywhere else self.sets.no_endpoint_ips
        self.contents.put(refusing, self._key(address))

    def _external_rules(self, service: str, local: str) -> tuple[str, ...]:
        if not self.port.external_local:
            return (f"jump {base.MARK_CHAIN}", f"goto {service}")
        # Pods and the node itself are not "outside": they may use every endpoint.
        inside = (
            f"{self.sets.ip} saddr {self.family.cluster_pod_cidr} goto {service}",
            f"fib saddr type local jump {base.MARK_CHAIN}",
            f"fib saddr type local goto {service}",
        )
        return (*(inside if service else ()), f"goto {local}" if local else "drop")

    def _firewall(self) -> None:
        port = self.port
        chain = f"firewall/{port.label}"
        allowed = [*port.source_ranges]
        if _within(self.family.node_address, allowed):
            # Where a balancer's address is one of the node's own, the node asks it with that very address.
            allowed += port.load_balancer_ips
        self.contents.chains[Chain(chain)] = (f"{self.sets.ip} saddr != {{ {', '.join(allowed)} }} drop",)
        for address in port.load_balancer_ips:
            self.contents.put(self.sets.firewall_ips, f"{address} . {port.protocol} . {port.port}", f"goto {chain}")

    def _balancer(self, prefix: str, endpoints: Sequence[Endpoint]) -> str:
        """A chain that sends each new connection to one of the endpoints; returns its name."""
        chain = f"{prefix}/{self.port.label}"
        if self.port.affinity_seconds and not self.by_hash:
            rules = self._sticky_rules(chain, endpoints)
        elif len(endpoints) == 1:
            target = base.transport_address(endpoints[0].ip, endpoints[0].port)
            rules = (f"{self._transport} dnat {self.sets.ip} to {target}",)
        else:
            targets = [f"{endpoint.ip} . {endpoint.port}" for endpoint in endpoints]
            collection = self.sets.endpoints(self.port.protocol)
            drawn = self._drawn(chain, collection, targets, by_client=bool(self.port.affinity_seconds))
            rules = (f"{self._transport} dnat {self.sets.ip} to {drawn} map @{collection.name}",)
        self.contents.chains[Chain(chain)] = rules
        return chain

    @property
    def _transport(self) -> str:
        return f"meta l4proto {self.port.protocol}"

    def _sticky_rules(self, balancer: str, endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
        """A client goes where it went before, while that endpoint is here and the client was seen lately."""
        ip, targets, known = self.sets.ip, [], []
        for endpoint in endpoints:
            # Colons have no place in names.
            label = f"{self.port.label}/{endpoint.ip.replace(':', '-')}/{endpoint.port}"
            # The timeout is part of the name: a set cannot change it.
            clients = Collection(
                f"affinity/{label}/{self.port.affinity_seconds}",
                "set",
                f"ipv{self.family.version}_addr",
                self.port.affinity_seconds,
            )
            self.contents.collections[clients] = {}
            chain = f"endpoint/{label}"
            self.contents.chains[Chain(chain)] = (
                f"update @{clients.name} {{ {ip} saddr }}",
                f"{self._transport} dnat {ip} to {base.transport_address(endpoint.ip, endpoint.port)}",
            )
            targets.append(f"goto {chain}")
            known.append(f"{ip} saddr @{clients.name} goto {chain}")
        drawn = self._drawn(balancer, self.sets.sticky_endpoints, targets)
        return (*known, f"{drawn} vmap @{self.sets.sticky_endpoints.name}")

    def _drawn(self, chain: str, collection: Collection, targets: Sequence[str], by_client: bool = False) -> str:
        """The expression for one of the numbers that stand for these targets."""
        first = self.blocks.begin(self.key, chain, len(targets))
        for index, target in enumerate(targets):
            self.contents.put(collection, str(first + index), target)
        if by_client:
            # The seed is fixed: the same endpoint after the rule has been written anew, and on every node.
            return f"jhash {self.sets.ip} saddr mod {len(targets)} seed 0x5a3b offset {first}"
        return f"numgen random mod {len(targets)} offset {first}"


def _within(address: str, ranges: Sequence[str]) -> bool:
    return bool(address) and any(ipaddress.ip_address(address) in ipaddress.ip_network(each) for each in ranges)
