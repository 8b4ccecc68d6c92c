"""What a Service needs on this node, said without any back end's words. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple, TypeAlias

from sampan.api.types import Obj
from sampan.network.proxy.endpoints import Choice, Place, choose
from sampan.network.proxy.model import ServicePort, endpoints_of, health_check_port, service_ports
from sampan.records import dataclass

Network: TypeAlias = IPv4Network | IPv6Network


class ServiceKey(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class PortPlan:
    port: ServicePort
    choice: Choice


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """``local_endpoints`` of ``health_port``, which is 0 for Services that no load balancer asks about. ``refused``:
    addresses that are asked for and not given."""

    key: ServiceKey
    ports: tuple[PortPlan, ...] = ()
    health_port: int = 0
    local_endpoints: int = 0
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """Where packets of a Service without connections arrive; ``address`` "" is any address of the node."""

    address: str
    port: int
    protocol: str = "udp"
    family: int = 4


#: Protocols whose clients go on with a flow whose endpoint is gone: nothing tells them.
_FORGETTING = frozenset({"udp", "sctp"})


def plan_service(service: Obj, slices: Sequence[Obj], place: Place, reserved: Sequence[Network] = ()) -> ServicePlan:
    """``reserved``: where external addresses are not served, or anybody who may make a Service could take another's
    cluster address, that of DNS too, or a pod's (CVE-2020-8554).

    Raises KeyError, TypeError, ValueError or AttributeError for a Service that is written as nobody foresaw.
    """
    meta = service["metadata"]
    refused: dict[str, None] = {}
    ports = []
    for port in service_ports(service):
        taken = tuple(each for each in port.external_ips if _is_within(each, reserved))
        if taken:
            refused |= dict.fromkeys(taken)
            port = replace(port, external_ips=tuple(each for each in port.external_ips if each not in taken))
        ports.append(PortPlan(port, choose(endpoints_of(port, slices), place)))
    return ServicePlan(
        key=ServiceKey(meta["namespace"], meta["name"]),
        ports=tuple(ports),
        health_port=health_check_port(service),
        local_endpoints=len({endpoint.ip for each in ports for endpoint in each.choice.local}),
        refused=tuple(refused),
    )


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    return any(ipaddress.ip_address(address) in network for network in networks)


def flows_of(plan: ServicePlan) -> dict[Flow, frozenset[str]]:
    """Addresses of endpoints by flow: what the kernel must forget when they change."""
    flows: dict[Flow, frozenset[str]] = {}
    for each in plan.ports:
        port, choice = each.port, each.choice
        if port.protocol not in _FORGETTING:
            continue
        everywhere = frozenset(endpoint.ip for endpoint in choice.cluster)
        here = frozenset(endpoint.ip for endpoint in choice.local)
        kind = port.protocol, port.family
        flows[Flow(port.cluster_ip, port.port, *kind)] = here if port.internal_local else everywhere
        for address in (*port.external_ips, *port.load_balancer_ips):
            flows[Flow(address, port.port, *kind)] = everywhere
        if port.node_port:
            flows[Flow("", port.node_port, *kind)] = everywhere
    return flows
