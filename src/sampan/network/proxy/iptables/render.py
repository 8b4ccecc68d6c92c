"""Services as chains of iptables. Pure.

``SERVICES`` has a rule for each address, ``NODEPORTS`` and ``HOSTPORTS`` for each port: their order means nothing, so
that they are changed rule by rule. ``SVC`` and ``SVL`` balance over all endpoints and over this node's, ``SEP`` is an
endpoint, ``EXT`` where node ports and external addresses enter, ``FW`` who may enter. What none of them took meets
``REFUSE``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sampan.network.proxy.config import DNS_PORTS, MASQUERADE_MARK, FamilyConfig, ProxyConfig, parts
from sampan.network.proxy.iptables.names import Names
from sampan.network.proxy.model import Endpoint, HostPort
from sampan.network.proxy.plan import PortPlan, ServiceKey, ServicePlan
from sampan.network.proxy.rules.table import Contents
from sampan.network.proxy.rules.values import Chain, Collection

_LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}
_NEAR = {4: ("224.0.0.0/4",), 6: ("ff00::/8", "fe80::/10")}
_HOST = {4: 32, 6: 128}
_LOCAL = "-m addrtype --dst-type LOCAL"
_FROM_HERE = "-m addrtype --src-type LOCAL"
_NEW = "-m conntrack --ctstate NEW"
_TRANSLATED = "-m conntrack --ctstate DNAT"
_MARKED = f"{MASQUERADE_MARK}/{MASQUERADE_MARK}"


class IptablesRendering:
    def __init__(self, config: ProxyConfig) -> None:
        self._families = {family.version: _Family(family, config) for family in config.families}

    def base(self) -> Contents:
        contents = Contents()
        for family in self._families.values():
            family.add_base(contents)
        return contents

    def service(self, plan: ServicePlan) -> Contents:
        contents = Contents()
        for each in plan.ports:
            family = self._families.get(each.port.family)
            if family is not None:
                _Port(each, family, contents).run()
        return contents

    def forget(self, key: ServiceKey) -> None:
        """Names are hashes of what they name."""

    def host_ports(self, ports: Sequence[HostPort]) -> Contents:
        contents = Contents()
        for port in ports:
            if port.family in self._families:
                self._families[port.family].add_host_port(contents, port)
        return contents


class _Family:
    """The chains that do not depend on Services, and how rules of this family are written."""

    def __init__(self, family: FamilyConfig, config: ProxyConfig) -> None:
        self.family = family
        self.config = config
        self.version = family.version
        self.names = Names(config.instance, family.version)

    def collection(self, table: str, kind: str) -> Collection:
        return Collection(self.names.chain(table, kind), "set", "rules")

    def host(self, address: str) -> str:
        return f"{address}/{_HOST[self.version]}"

    def go(self, kind: str, label: str = "") -> str:
        return f"-j {self.names.short(kind, label)}"

    def add_base(self, contents: Contents) -> None:
        for kind in ("SERVICES", "NODEPORTS", "HOSTPORTS", "HOSTMASQ"):
            contents.collections[self.collection("nat", kind)] = {}
        contents.collections[self.collection("filter", "REFUSE")] = {}
        chains = {
            ("nat", "MARK"): (f"-j MARK --or-mark {MASQUERADE_MARK}",),
            ("nat", "PRE"): self._before(),
            ("nat", "POST"): self._after(),
            ("filter", "INPUT"): self._input(),
            ("raw", "GUARD"): self._guard(),
        }
        for (table, kind), rules in chains.items():
            contents.chains[Chain(self.names.chain(table, kind))] = rules
        for table, hook, rule in (
            ("nat", "PREROUTING", self.go("PRE")),
            ("nat", "OUTPUT", self.go("PRE")),
            ("nat", "POSTROUTING", self.go("POST")),
            ("raw", "PREROUTING", self.go("GUARD")),
            ("filter", "INPUT", self.go("INPUT")),
            ("filter", "FORWARD", f"{_NEW} {self.go('REFUSE')}"),
            ("filter", "OUTPUT", f"{_NEW} {self.go('REFUSE')}"),
        ):
            contents.put(Collection(self.names.builtin(table, hook), "set", "rules"), rule)
        if self.family.dns_ip:
            self._add_dns(contents)

    def _before(self) -> tuple[str, ...]:
        ranges = parts(self.config.node_port_addresses)
        mine = [text for text in ranges if ipaddress.ip_network(text, strict=False).version == self.version]
        ports = [f"-d {text} {_LOCAL} {self.go('NODEPORTS')}" for text in mine]
        if not ranges:
            ports = [f"{self._elsewhere()}{_LOCAL} {self.go('NODEPORTS')}"]
        # Of loopback addresses, 127.0.0.1 alone: the others are those of the node's own programs.
        itself = (
            ["-d 127.0.0.1/32", f"! -d {_LOOPBACK[4]} {_LOCAL}"] if self.version == 4 else [self._elsewhere() + _LOCAL]
        )
        hosts = [f"{where} {self.go(kind)}" for where in itself for kind in ("HOSTMASQ", "HOSTPORTS")]
        return (self.go("SERVICES"), *ports, *hosts)

    def _elsewhere(self) -> str:
        """What comes back to ::1 from elsewhere is dropped by the kernel: nothing is sent from there."""
        return "" if self.version == 4 else "! -d ::1/128 "

    def _after(self) -> tuple[str, ...]:
        own, cluster = self.family.node_pod_cidr, self.family.cluster_pod_cidr
        masquerade = "-j MASQUERADE --random-fully"
        rules = [
            *(f"-d {near} -j RETURN" for near in _NEAR[self.version]),
            f"-s {_LOOPBACK[self.version]} ! -o lo {masquerade}",
        ]
        if own:
            rules.append(f"-s {own} ! -d {cluster} {masquerade}")
        if own and not self.config.bridge_filtered:
            # The answer would stay within the bridge, unseen and so untranslated.
            rules.append(f"-s {own} -d {own} {_TRANSLATED} {masquerade}")
        rules += [f"-m mark ! --mark {_MARKED} -j RETURN", f"-j MARK --xor-mark {MASQUERADE_MARK}", masquerade]
        return tuple(rules)

    def _input(self) -> tuple[str, ...]:
        rules = [f"! -i lo -d {_LOOPBACK[self.version]} -m conntrack --ctdir ORIGINAL -j DROP"]
        if self.family.dns_ip:
            # The DNS server would otherwise resolve for anybody who can reach the node.
            rules += [
                f"-i lo {_NEW} {self.go('REFUSE')}",
                "-i lo -j RETURN",
                f"-s {self.family.cluster_pod_cidr} {_NEW} {self.go('REFUSE')}",
                f"-s {self.family.cluster_pod_cidr} -j RETURN",
                *(
                    f"-p {protocol} -m {protocol} --dport {self.config.dns_port} -m conntrack ! --ctstate DNAT -j DROP"
                    for protocol in ("udp", "tcp")
                ),
            ]
        return (*rules, f"{_NEW} {self.go('REFUSE')}")

    def _guard(self) -> tuple[str, ...]:
        """Loopback addresses come from this node alone (CVE-2020-8558)."""
        return tuple(f"! -i lo {end} {_LOOPBACK[self.version]} -j DROP" for end in ("-d", "-s"))

    def _add_dns(self, contents: Contents) -> None:
        """Cluster DNS goes to this node's own server, whatever endpoints the kube-dns Service has or lacks."""
        to = destination(self.family.node_address, self.config.dns_port)
        for protocol, port in DNS_PORTS:
            match = f"-d {self.host(self.family.dns_ip)} -p {protocol} -m {protocol} --dport {port}"
            contents.put(self.collection("nat", "SERVICES"), f"{match} -j DNAT --to-destination {to}")

    def add_host_port(self, contents: Contents, port: HostPort) -> None:
        where = f"-d {self.host(port.host_ip)} " if port.host_ip else ""
        match = f"{where}-p {port.protocol} -m {port.protocol} --dport {port.port}"
        # A pod that reaches itself must not see its own address.
        contents.put(self.collection("nat", "HOSTMASQ"), f"-s {self.host(port.pod_ip)} {match} {self.go('MARK')}")
        to = destination(port.pod_ip, port.pod_port)
        contents.put(self.collection("nat", "HOSTPORTS"), f"{match} -j DNAT --to-destination {to}")


def destination(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class _Port:
    """Adds one port to the contents."""

    def __init__(self, plan: PortPlan, family: _Family, contents: Contents) -> None:
        self.port = plan.port
        self.choice = plan.choice
        self.of = family
        self.contents = contents

    def run(self) -> None:
        port, choice = self.port, self.choice
        endpoints = choice.local if port.internal_local else choice.cluster
        if port.cluster_ip != self.of.family.dns_ip or (port.protocol, port.port) not in DNS_PORTS:
            if endpoints:
                balancer = self._balancer("SVL" if port.internal_local else "SVC", endpoints)
                self._services(port.cluster_ip, balancer)
            else:
                self._refuse(self._to(port.cluster_ip), choice.anywhere)
        if port.reached_from_outside:
            self._outside()

    def _to(self, address: str) -> str:
        return f"-d {self.of.host(address)} {self._match(self.port.port)}"

    def _match(self, number: int) -> str:
        return f"-p {self.port.protocol} -m {self.port.protocol} --dport {number}"

    def _services(self, address: str, target: str) -> None:
        self.contents.put(self.of.collection("nat", "SERVICES"), f"{self._to(address)} -j {target}")

    def _refuse(self, match: str, silently: bool) -> None:
        # Of the errors that a client may be told, TCP takes a reset at once wherever it comes from.
        how = "REJECT --reject-with tcp-reset" if self.port.protocol == "tcp" else "REJECT"
        self.contents.put(self.of.collection("filter", "REFUSE"), f"{match} -j {'DROP' if silently else how}")

    def _outside(self) -> None:
        port, choice = self.port, self.choice
        addresses = [*port.external_ips, *port.load_balancer_ips]
        ports = [f"{self._match(port.node_port)} {_LOCAL}"] if port.node_port else []
        if not choice.cluster and not choice.local:
            for match in (*map(self._to, addresses), *ports):
                self._refuse(match, silently=False)
            return
        external = self._chain("EXT", self._external_rules())
        guarded = self._firewall(external) if port.source_ranges else external
        for address in port.external_ips:
            self._services(address, external)
        for address in port.load_balancer_ips:
            self._services(address, guarded)
        if ports:
            self.contents.put(self.of.collection("nat", "NODEPORTS"), f"{self._match(port.node_port)} -j {external}")
        if port.external_local and not choice.local:
            for match in (*map(self._to, addresses), *ports):
                self._refuse(match, silently=True)

    def _external_rules(self) -> Iterable[str]:
        mark = self.of.go("MARK")
        everywhere = self._balancer("SVC", self.choice.cluster) if self.choice.cluster else ""
        if not self.port.external_local:
            return mark, f"-j {everywhere}"
        # Pods and the node itself are not "outside": they may use every endpoint.
        inside = (
            f"-s {self.of.family.cluster_pod_cidr} -j {everywhere}",
            f"{_FROM_HERE} {mark}",
            f"{_FROM_HERE} -j {everywhere}",
        )
        here = (f"-j {self._balancer('SVL', self.choice.local)}",) if self.choice.local else ()
        return (*(inside if everywhere else ()), *here)

    def _firewall(self, external: str) -> str:
        allowed = list(self.port.source_ranges)
        node = self.of.family.node_address
        if node and any(ipaddress.ip_address(node) in ipaddress.ip_network(each) for each in allowed):
            # Where a balancer's address is one of the node's own, the node asks it with that very address.
            allowed += [self.of.host(address) for address in self.port.load_balancer_ips]
        for address in self.port.load_balancer_ips:
            self._refuse(self._to(address), silently=True)  # what the chain did not let through
        return self._chain("FW", (f"-s {each} -j {external}" for each in allowed))

    def _balancer(self, kind: str, endpoints: Sequence[Endpoint]) -> str:
        chains = [self._endpoint(endpoint) for endpoint in endpoints]
        rules = []
        if (kind == "SVL") == self.port.internal_local:
            outsiders = f"! -s {self.of.family.cluster_pod_cidr} {self._to(self.port.cluster_ip)}"
            rules.append(f"{outsiders} {self.of.go('MARK')}")
        if self.port.affinity_seconds:
            seen = f"--rcheck --seconds {self.port.affinity_seconds} --reap"
            rules += [f"-m recent --name {chain} {seen} -j {chain}" for chain in chains]
        for index, chain in enumerate(chains):
            left = len(chains) - index
            chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
            rules.append(f"{chance}-j {chain}")
        return self._chain(kind, rules)

    def _endpoint(self, endpoint: Endpoint) -> str:
        protocol = self.port.protocol
        name = self.of.names.short("SEP", f"{self.port.label}/{endpoint.ip}/{endpoint.port}")
        remembered = f"-m recent --name {name} --set " if self.port.affinity_seconds else ""
        to = destination(endpoint.ip, endpoint.port)
        rules = (
            f"-s {self.of.host(endpoint.ip)} {self.of.go('MARK')}",
            f"-p {protocol} {remembered}-m {protocol} -j DNAT --to-destination {to}",
        )
        return self._chain("SEP", rules, f"{self.port.label}/{endpoint.ip}/{endpoint.port}")

    def _chain(self, kind: str, rules: Iterable[str], label: str = "") -> str:
        name = label or self.port.label
        self.contents.chains[Chain(self.of.names.chain("nat", kind, name))] = tuple(rules)
        return self.of.names.short(kind, name)
