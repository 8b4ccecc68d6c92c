"""Virtual servers of Services, and ``ipvsadm``'s words for the way from one state to another. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from sampan.network.proxy.plan import PortPlan, ServicePlan
from sampan.records import dataclass

#: Round robin, weighted round robin, fewest connections and its kin, by source, by destination, never queue, shortest
#: delay, Maglev hashing.
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")

_FLAGS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_PROTOCOLS = {flag: protocol for protocol, flag in _FLAGS.items()}


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """``persistent_seconds`` 0: every connection is balanced anew."""

    protocol: str
    address: str
    port: int
    scheduler: str = "rr"
    persistent_seconds: int = 0

    @property
    def name(self) -> str:
        return f"{_FLAGS[self.protocol]} {_joined(self.address, self.port)}"

    @property
    def place(self) -> tuple[str, str, int]:
        """Of which there is one: the rest are its properties."""
        return self.protocol, self.address, self.port

    @property
    def options(self) -> str:
        return f"-s {self.scheduler}" + (f" -p {self.persistent_seconds}" if self.persistent_seconds else "")


@dataclass(frozen=True, slots=True)
class RealServer:
    ip: str
    port: int

    @property
    def name(self) -> str:
        return _joined(self.ip, self.port)


Servers: TypeAlias = dict[VirtualServer, frozenset[RealServer]]


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def virtual_servers(plan: ServicePlan, node_addresses: Mapping[int, str], scheduler: str) -> Servers:
    """Of one Service; ``node_addresses`` by family are those that node ports answer on."""
    found: Servers = {}
    for each in plan.ports:
        if each.port.family not in node_addresses or each.port.protocol not in _FLAGS:
            continue
        for address, number, local in _ways_in(each, node_addresses[each.port.family]):
            endpoints = each.choice.local if local else each.choice.cluster
            server = VirtualServer(each.port.protocol, address, number, scheduler, each.port.affinity_seconds)
            if endpoints:
                found[server] = frozenset(RealServer(endpoint.ip, endpoint.port) for endpoint in endpoints)
    return found


def _ways_in(each: PortPlan, node_address: str) -> Iterable[tuple[str, int, bool]]:
    """Address, port, and whether this node's endpoints alone count."""
    port = each.port
    yield port.cluster_ip, port.port, port.internal_local
    for address in (*port.external_ips, *port.load_balancer_ips):
        yield address, port.port, port.external_local
    if port.node_port:
        yield node_address, port.node_port, port.external_local


def held_addresses(servers: Iterable[VirtualServer], node_addresses: Iterable[str]) -> frozenset[str]:
    """What the node has to take for its own, so that IPVS sees it."""
    return frozenset(server.address for server in servers) - frozenset(node_addresses)


def change(present: Servers, wanted: Servers) -> str:
    """For ``ipvsadm --restore``; servers that stay keep their connections."""
    lines: list[str] = []
    before = {server.place: server for server in present}
    kept = {server.place for server in wanted}
    lines += [f"-D {server.name}" for place, server in before.items() if place not in kept]
    for server, reals in wanted.items():
        known = before.get(server.place)
        if known is None:
            lines.append(f"-A {server.name} {server.options}")
        elif known != server:
            lines.append(f"-E {server.name} {server.options}")
        had = present[known] if known else frozenset()
        # New ones first: there is always somebody to go to.
        lines += [f"-a {server.name} -r {real.name} -m -w 1" for real in _sorted(reals - had)]
        lines += [f"-d {server.name} -r {real.name}" for real in _sorted(had - reals)]
    return "".join(f"{line}\n" for line in lines)


def _sorted(reals: Iterable[RealServer]) -> list[RealServer]:
    return sorted(reals, key=lambda real: (real.ip, real.port))


def parse(saved: str) -> Servers:
    """What ``ipvsadm --save -n`` wrote; lines of other kinds (firewall marks) are left out."""
    found: dict[tuple[str, str, int], tuple[VirtualServer, set[RealServer]]] = {}
    for line in saved.splitlines():
        words = line.split()
        if len(words) < 3 or words[1] not in _PROTOCOLS:
            continue
        place = _PROTOCOLS[words[1]], *_split(words[2])
        options = dict(zip(words[3::2], words[4::2], strict=False))
        if words[0] == "-A":
            server = VirtualServer(*place, options.get("-s", "wlc"), int(options.get("-p", 0)))
            found[place] = server, set()
        elif words[0] == "-a" and place in found and "-r" in options:
            found[place][1].add(RealServer(*_split(options["-r"])))
    return {server: frozenset(reals) for server, reals in found.values()}


def _split(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(address.strip("[]"))), int(port)
