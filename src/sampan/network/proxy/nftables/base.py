"""The part of the table that does not depend on Services: hooks, the maps' lookups, masquerading, cluster DNS. Pure.

Path of a new connection: ``filter-*`` refuses what has no endpoint, ``services`` looks its target up and translates
it, ``nat-postrouting`` masquerades what was marked. Later packets of a connection meet none of the NAT chains. One
table serves both address families, so that a change of both is one transaction; chains of IPv6 end in ``6``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from sampan.network.proxy.config import DNS_PORTS, MASQUERADE_MARK, FamilyConfig, ProxyConfig, parts
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.nftables import sets
from sampan.network.proxy.nftables.sets import Sets
from sampan.network.proxy.rules.table import Contents
from sampan.network.proxy.rules.values import Chain

MARK_CHAIN = "mark-for-masquerade"
REJECT_CHAIN = "reject-all"

_BY_PORT = "meta l4proto . th dport"
_TO_NODE = "fib daddr type local"
#: Node ports answer on every address of the node, IPv4's loopback too (``reach``), unless ranges are given. What comes
#: back to ::1 from elsewhere is dropped by the kernel, so that nothing is sent from there: asked there, it refuses.
_TO_NODE_PORTS = {4: _TO_NODE, 6: f"ip6 daddr != ::1 {_TO_NODE}"}
#: Host ports, whose numbers pods choose, on 127.0.0.1 alone of these: others belong to the node's own programs. On
#: 127.0.0.53 is its resolver, which no pod may take the place of.
_TO_NODE_ITSELF = {4: f"ip daddr != 127.0.0.2-127.255.255.255 {_TO_NODE}", 6: _TO_NODE_PORTS[6]}
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}
_NOWHERE = {4: "0.0.0.0", 6: "::"}
#: Never masqueraded, whoever it is for.
_NEAR = {4: "224.0.0.0/4", 6: "ff00::/8, fe80::/10"}


def base_contents(config: ProxyConfig) -> Contents:
    """The table of a cluster without Services."""
    contents = Contents()
    contents.chains = {
        Chain(MARK_CHAIN): (f"meta mark set meta mark or {MASQUERADE_MARK}",),
        Chain(REJECT_CHAIN): ("meta l4proto tcp reject with tcp reset", "reject with icmpx type port-unreachable"),
    }
    hooks = {name: Hook(kind) for name, kind in _HOOKS.items()}
    for family in config.families:
        contents.collections |= {collection: {} for collection in sets.OF[family.version].all}
        _Family(family, config, contents, hooks).add()
    for name, hook in hooks.items():
        contents.chains[Chain(name, hook.kind)] = tuple(hook.rules)
    return contents


class Hook:
    """A base chain in the making."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rules: list[str] = []


_HOOKS = {
    # Before anything is translated: loopback addresses come from this node alone (CVE-2020-8558).
    "loopback-guard": "type filter hook prerouting priority -300",
    "filter-prerouting": "type filter hook prerouting priority -110",
    "filter-input": "type filter hook input priority -110",
    "filter-forward": "type filter hook forward priority -110",
    "filter-output": "type filter hook output priority -110",
    "filter-output-translated": "type filter hook output priority -90",
    "nat-prerouting": "type nat hook prerouting priority -100",
    "nat-output": "type nat hook output priority -100",
    "nat-postrouting": "type nat hook postrouting priority 100",
}


class _Family:
    """Adds what one address family needs."""

    def __init__(self, family: FamilyConfig, config: ProxyConfig, contents: Contents, hooks: dict[str, Hook]) -> None:
        self.family = family
        self.config = config
        self.contents = contents
        self.hooks = hooks
        self.sets: Sets = sets.OF[family.version]
        self.ip = self.sets.ip
        self.loopback = _LOOPBACK[family.version]

    def add(self) -> None:
        chains, s = self.contents.chains, self.sets
        by_address = f"{self.ip} daddr . {_BY_PORT}"
        services, no_endpoints, unknown = (
            f"{name}{s.suffix}" for name in ("services", "no-endpoints", "unknown-ports")
        )
        chains[Chain(services)] = self._services(by_address)
        self._add_spread()
        chains[Chain(no_endpoints)] = (
            f"{by_address} @{s.no_endpoint_ips.name} goto {REJECT_CHAIN}",
            f"{by_address} @{s.silent_ips.name} drop",
            f"{self._node_ports()} {_BY_PORT} @{s.no_endpoint_nodeports.name} goto {REJECT_CHAIN}",
        )
        # Behind translation: what still goes to a cluster address asks for a port that the Service does not have, and
        # what goes to another address of the range for a Service that is not there. It would leave the cluster.
        nobodys = (f"{self.ip} daddr {self.family.service_cidr} drop",) if self.family.service_cidr else ()
        chains[Chain(unknown)] = (f"{self.ip} daddr @{s.cluster_ips.name} goto {REJECT_CHAIN}", *nobodys)
        self._rules(
            "loopback-guard", *(f'iifname != "lo" {self.ip} {end} {self.loopback} drop' for end in ("daddr", "saddr"))
        )
        firewall = f"ct state new {by_address} vmap @{s.firewall_ips.name}"
        mine = f"meta nfproto {s.protocol}"
        new = f"{mine} ct state new"
        self._rules("filter-prerouting", firewall)
        self._rules("filter-input", *self._input(f"{new} jump {no_endpoints}"))
        self._rules("filter-forward", f"{new} jump {no_endpoints}", f"{new} jump {unknown}")
        self._rules("filter-output", firewall, f"{new} jump {no_endpoints}")
        self._rules("filter-output-translated", f"{new} jump {unknown}")
        self._rules("nat-prerouting", f"{mine} jump {services}")
        self._rules("nat-output", f"{mine} jump {services}")
        self._rules("nat-postrouting", *self._postrouting())
        if self.family.dns_ip:
            self._add_dns()

    def _rules(self, hook: str, *rules: str) -> None:
        self.hooks[hook].rules += rules

    def _node_ports(self) -> str:
        """What matches the addresses that node ports answer on."""
        given = self.config.node_port_addresses
        if not given:
            return _TO_NODE_PORTS[self.family.version]
        ranges = [
            text for text in parts(given) if ipaddress.ip_network(text, strict=False).version == self.family.version
        ]
        # None of this family: what no packet is sent to.
        return f"{self.ip} daddr {{ {', '.join(ranges or [_NOWHERE[self.family.version]])} }} {_TO_NODE}"

    def _services(self, by_address: str) -> tuple[str, ...]:
        s, itself = self.sets, _TO_NODE_ITSELF[self.family.version]
        return (
            f"{self.ip} daddr @{s.cluster_ips.name} {self.ip} saddr != {self.family.cluster_pod_cidr}"
            f" jump {MARK_CHAIN}",
            f"{by_address} @{s.masqueraded_ips.name} jump {MARK_CHAIN}",
            self._by_protocol("spread"),
            f"{by_address} vmap @{s.service_ips.name}",
            f"{self._node_ports()} jump node-ports{s.suffix}",
            f"{itself} dnat {self.ip} to {by_address} map @{s.host_ports_by_ip.name}",
            f"{itself} dnat {self.ip} to {_BY_PORT} map @{s.host_ports.name}",
        )

    def _by_protocol(self, chain: str) -> str:
        targets = (f"{protocol} : jump {chain}-{protocol}{self.sets.suffix}" for protocol in sets.SPREAD_PROTOCOLS)
        return f"meta l4proto vmap {{ {', '.join(targets)} }}"

    def _add_spread(self) -> None:
        """The look-ups of Services that have no chain of their own."""
        s, chains = self.sets, self.contents.chains
        for protocol in sets.SPREAD_PROTOCOLS:
            for name, key, kind in (
                ("spread", f"{self.ip} daddr . {protocol} dport", s.spread_ips),
                ("spread-nodeports", f"{protocol} dport", s.spread_nodeports),
            ):
                mine = f"meta nfproto {s.protocol} " if kind == s.spread_nodeports else ""
                chains[Chain(f"{name}-{protocol}{s.suffix}")] = tuple(
                    f"{mine}dnat {self.ip} to {key} . numgen random mod {places} map @{kind(protocol, places).name}"
                    for places in sets.PLACES
                )
        chains[Chain(f"node-ports{s.suffix}")] = (
            f"{_BY_PORT} @{s.masqueraded_nodeports.name} jump {MARK_CHAIN}",
            self._by_protocol("spread-nodeports"),
            f"{_BY_PORT} vmap @{s.service_nodeports.name}",
        )

    def _input(self, refuse: str) -> tuple[str, ...]:
        rules = [
            # What was translated meanwhile: answers to the node's own connections may go to loopback, nothing else.
            f'iifname != "lo" {self.ip} daddr {self.loopback} ct direction original drop',
            refuse,
        ]
        if self.family.dns_ip:
            # The DNS server would otherwise resolve for anybody who can reach the node.
            rules.append(
                f'iifname != "lo" {self.ip} saddr != {self.family.cluster_pod_cidr} meta l4proto {{ tcp, udp }}'
                f" th dport {self.config.dns_port} ct status & dnat == 0 drop"
            )
        return tuple(rules)

    def _postrouting(self) -> tuple[str, ...]:
        ip, s, own = self.ip, self.sets, self.family.node_pod_cidr
        rules = [
            f"meta nfproto {s.protocol} meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK}"
            f" meta mark set meta mark xor {MASQUERADE_MARK} masquerade fully-random",
            f'{ip} saddr {self.loopback} oifname != "lo" masquerade fully-random',
            f"{ip} saddr . {ip} daddr @{s.hairpin.name} ct status & dnat == dnat masquerade fully-random",
        ]
        if own and not self.config.bridge_filtered:
            # The answer would stay within the bridge, unseen and so untranslated.
            rules.append(f"{ip} saddr {own} {ip} daddr {own} ct status & dnat == dnat masquerade fully-random")
        if own:
            near = f"{self.family.cluster_pod_cidr}, {_NEAR[s.version]}"
            rules.append(f"{ip} saddr {own} {ip} daddr != {{ {near} }} masquerade fully-random")
        return tuple(rules)

    def _add_dns(self) -> None:
        """Cluster DNS goes to this node's own server, whatever endpoints the kube-dns Service has or lacks."""
        self.contents.put(self.sets.cluster_ips, self.family.dns_ip)
        target = transport_address(self.family.node_address, self.config.dns_port)
        for protocol, port in DNS_PORTS:
            chain = f"cluster-dns{self.sets.suffix}/{protocol}"
            self.contents.chains[Chain(chain)] = (f"meta l4proto {protocol} dnat {self.ip} to {target}",)
            self.contents.put(self.sets.service_ips, f"{self.family.dns_ip} . {protocol} . {port}", f"goto {chain}")


def transport_address(address: str, port: int) -> str:
    """As rules write it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def host_port_contents(ports: Iterable[HostPort]) -> Contents:
    contents = Contents()
    for port in ports:
        group = sets.OF[port.family]
        target = f"{port.pod_ip} . {port.pod_port}"
        if port.host_ip:
            contents.put(group.host_ports_by_ip, f"{port.host_ip} . {port.protocol} . {port.port}", target)
        else:
            contents.put(group.host_ports, f"{port.protocol} . {port.port}", target)
        contents.put(group.hairpin, f"{port.pod_ip} . {port.pod_ip}")
    return contents
