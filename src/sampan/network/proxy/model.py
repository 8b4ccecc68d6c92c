"""What the proxy reads from Services, EndpointSlices and Pods, as values. Pure; defaults are the API server's work.

A Service of two address families is, to a proxy, two that share a name: each has its own addresses and endpoints.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sampan.api.pods.containers import long_running
from sampan.api.pods.status import is_terminal
from sampan.api.types import Obj
from sampan.records import dataclass

_Network = TypeVar("_Network", ipaddress.IPv4Network, ipaddress.IPv6Network)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
#: Services with this label belong to another proxy.
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
#: Services and slices with this label are meant for DNS alone.
HEADLESS_LABEL = "service.kubernetes.io/headless"
ZONE_LABEL = "topology.kubernetes.io/zone"

DEFAULT_AFFINITY_SECONDS = 10800

#: What containers write for every address of one family; "" is every one of both.
WILDCARDS = ("", "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``nodes`` and ``zones`` are hints: who should use it."""

    ip: str
    port: int
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    nodes: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service in one address family. ``affinity_seconds`` 0: no session affinity."""

    namespace: str
    name: str
    port_name: str
    protocol: str
    port: int
    cluster_ip: str
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    internal_local: bool = False
    external_local: bool = False
    affinity_seconds: int = 0
    #: 4 or 6
    family: int = 4

    @property
    def label(self) -> str:
        """Unique within the cluster; part of chain names."""
        name = f"{self.namespace}/{self.name}/{self.protocol}/{self.port}"
        return name if self.family == 4 else f"{name}/ip6"

    @property
    def reached_from_outside(self) -> bool:
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that belongs to a pod. ``host_ip`` "" means every address of the pod address's family."""

    host_ip: str
    protocol: str
    port: int
    pod_ip: str
    pod_port: int

    @property
    def family(self) -> int:
        return family_of(self.pod_ip)


def service_ports(service: Obj) -> tuple[ServicePort, ...]:
    """Empty for Services that need no proxy: headless, ExternalName, somebody else's."""
    labels, spec = service["metadata"].get("labels") or {}, service.get("spec", {})
    if spec.get("type") == "ExternalName" or PROXY_NAME_LABEL in labels or HEADLESS_LABEL in labels:
        return ()
    found: list[ServicePort] = []
    for family in (4, 6):
        cluster_ip = next(_of_family(spec.get("clusterIPs") or [spec.get("clusterIP", "")], family), "")
        if cluster_ip:
            found += _ports_of_family(service, family, cluster_ip)
    return tuple(found)


def _ports_of_family(service: Obj, family: int, cluster_ip: str) -> Iterator[ServicePort]:
    meta, spec = service["metadata"], service.get("spec", {})
    kind = spec.get("type", "ClusterIP")
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = int(client_ip.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)
    for port in spec.get("ports") or ():
        yield ServicePort(
            namespace=meta["namespace"],
            name=meta["name"],
            port_name=port.get("name") or "",
            protocol=port.get("protocol", "TCP").lower(),
            port=port["port"],
            cluster_ip=cluster_ip,
            node_port=port.get("nodePort", 0) if kind in ("NodePort", "LoadBalancer") else 0,
            external_ips=tuple(_of_family(spec.get("externalIPs") or (), family)),
            load_balancer_ips=_load_balancer_ips(service, family, port) if kind == "LoadBalancer" else (),
            source_ranges=_ranges(spec.get("loadBalancerSourceRanges") or (), family),
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
            affinity_seconds=affinity,
            family=family,
        )


def endpoints_of(port: ServicePort, slices: Iterable[Obj]) -> tuple[Endpoint, ...]:
    """Every endpoint of a service port, ready or not, in order of address; one that several slices hold counts once."""
    found: dict[tuple[str, int], Endpoint] = {}
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") != f"IPv{port.family}":
            continue
        target = _slice_port(endpoint_slice, port)
        if target is None:
            continue
        for entry in endpoint_slice.get("endpoints") or ():
            endpoint = _endpoint(entry, target, port.family)
            if endpoint is None:
                continue
            known = found.get((endpoint.ip, target))
            if known is None or (endpoint.ready and not known.ready):
                found[endpoint.ip, target] = endpoint
    return tuple(found[key] for key in sorted(found))


def _slice_port(endpoint_slice: Obj, port: ServicePort) -> int | None:
    for entry in endpoint_slice.get("ports") or ():
        same_name = (entry.get("name") or "") == port.port_name
        if same_name and entry.get("protocol", "TCP").lower() == port.protocol and entry.get("port"):
            return int(entry["port"])
    return None


def _endpoint(entry: Obj, port: int, family: int) -> Endpoint | None:
    """None for an entry that no back end could send anything to: one alone must not cost the others."""
    # Only the first address counts (API reference: consumers use the first, the others are for the future).
    ip = next(_of_family(tuple(entry.get("addresses") or ())[:1], family), "")
    if not ip:
        return None
    conditions = entry.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    hints = entry.get("hints") or {}
    return Endpoint(
        ip=ip,
        port=port,
        node=entry.get("nodeName") or "",
        ready=ready,
        serving=ready if serving is None else bool(serving),
        terminating=bool(conditions.get("terminating")),
        nodes=frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
        zones=frozenset(hint["name"] for hint in hints.get("forZones") or ()),
    )


def health_check_port(service: Obj) -> int:
    """The healthCheckNodePort that every node must answer; 0 when there is none."""
    spec = service.get("spec", {})
    if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
        return 0
    return int(spec.get("healthCheckNodePort") or 0)


def host_ports(pods: Iterable[Obj]) -> tuple[HostPort, ...]:
    """Of running pods with a network of their own, in order of pod name."""
    found: list[HostPort] = []
    for pod in sorted(pods, key=lambda pod: (pod["metadata"].get("namespace", ""), pod["metadata"]["name"])):
        try:
            found.extend(pod_host_ports(pod))
        except (AttributeError, KeyError, TypeError):
            continue  # a pod that is written as nobody foresaw has no ports, the others have theirs
    return tuple(found)


def pod_host_ports(pod: Obj) -> Iterator[HostPort]:
    spec, status = pod.get("spec", {}), pod.get("status", {})
    if spec.get("hostNetwork") or is_terminal(pod):
        return
    pod_ips = [entry.get("ip", "") for entry in status.get("podIPs") or ()] or [status.get("podIP", "")]
    for pod_ip in [ip for version in (4, 6) for ip in list(_of_family(pod_ips, version))[:1]]:
        for container in long_running(pod):
            for port in container.get("ports") or ():
                host_ip = port.get("hostIP") or ""
                if port.get("hostPort") and (not host_ip or family_of(host_ip) == family_of(pod_ip)):
                    yield HostPort(
                        "" if host_ip in WILDCARDS else canonical(host_ip),
                        port.get("protocol", "TCP").lower(),
                        port["hostPort"],
                        pod_ip,
                        port["containerPort"],
                    )


def _load_balancer_ips(service: Obj, family: int, port: Obj) -> tuple[str, ...]:
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    wanted = (port["port"], port.get("protocol", "TCP"))
    # ipMode Proxy: the load balancer wants to see the traffic itself (KEP-1860). One that tells which ports it was
    # given has no others, whatever the Service's owner writes meanwhile: the address may be the node's own.
    seen = (
        entry.get("ip", "")
        for entry in ingress
        if entry.get("ipMode", "VIP") == "VIP"
        and (
            not entry.get("ports")
            or any((given.get("port"), given.get("protocol", "TCP")) == wanted for given in entry["ports"])
        )
    )
    return tuple(_of_family(seen, family))


def _ranges(texts: Iterable[str], family: int) -> tuple[str, ...]:
    found = list(texts)
    if family == 4:
        return tuple(map(str, ipaddress.collapse_addresses(_networks(found, ipaddress.IPv4Network))))
    return tuple(map(str, ipaddress.collapse_addresses(_networks(found, ipaddress.IPv6Network))))


def _networks(texts: Iterable[str], of_family: Callable[[str, bool], _Network]) -> Iterator[_Network]:
    for text in texts:
        try:
            yield of_family(text.strip(), False)
        except ValueError:
            continue  # a range of the other family: nothing of this one matches it


def family_of(text: str) -> int:
    """4 or 6; 0 for what is no address."""
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return 0


def canonical(text: str) -> str:
    """An address as the kernel's tools write it."""
    return str(ipaddress.ip_address(text))


def _of_family(texts: Iterable[str], family: int) -> Iterator[str]:
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if address.version == family:
            yield str(address)
