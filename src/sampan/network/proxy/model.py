"""What the proxy reads from Services, EndpointSlices and Pods, as values. Pure; defaults are the API server's work."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from sampan.api.pods.containers import long_running
from sampan.api.pods.status import is_terminal
from sampan.api.types import Obj
from sampan.records import dataclass

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
#: Services with this label belong to another proxy.
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
ZONE_LABEL = "topology.kubernetes.io/zone"

DEFAULT_AFFINITY_SECONDS = 10800


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
    """One port of one Service. ``affinity_seconds`` 0: no session affinity."""

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

    @property
    def label(self) -> str:
        """Unique within the cluster; part of chain names."""
        return f"{self.namespace}/{self.name}/{self.protocol}/{self.port}"

    @property
    def reached_from_outside(self) -> bool:
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that belongs to a pod. ``host_ip`` "" means every address."""

    host_ip: str
    protocol: str
    port: int
    pod_ip: str
    pod_port: int


def service_ports(service: Obj) -> tuple[ServicePort, ...]:
    """Empty for Services that need no proxy: headless, ExternalName, somebody else's."""
    meta, spec = service["metadata"], service.get("spec", {})
    if spec.get("type") == "ExternalName" or PROXY_NAME_LABEL in (meta.get("labels") or {}):
        return ()
    cluster_ip = _first_ipv4(spec.get("clusterIPs") or [spec.get("clusterIP", "")])
    if not cluster_ip:
        return ()
    kind = spec.get("type", "ClusterIP")
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = int(client_ip.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)
    return tuple(
        ServicePort(
            namespace=meta["namespace"],
            name=meta["name"],
            port_name=port.get("name") or "",
            protocol=port.get("protocol", "TCP").lower(),
            port=port["port"],
            cluster_ip=cluster_ip,
            node_port=port.get("nodePort", 0) if kind in ("NodePort", "LoadBalancer") else 0,
            external_ips=tuple(_ipv4s(spec.get("externalIPs") or ())),
            load_balancer_ips=_load_balancer_ips(service) if kind == "LoadBalancer" else (),
            source_ranges=_ranges(spec.get("loadBalancerSourceRanges") or ()),
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
            affinity_seconds=affinity,
        )
        for port in spec.get("ports") or ()
    )


def endpoints_of(port: ServicePort, slices: Iterable[Obj]) -> tuple[Endpoint, ...]:
    """Every endpoint of a service port, ready or not, in order of address; one that several slices hold counts once."""
    found: dict[tuple[str, int], Endpoint] = {}
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") != "IPv4":
            continue
        target = _slice_port(endpoint_slice, port)
        if target is None:
            continue
        for entry in endpoint_slice.get("endpoints") or ():
            endpoint = _endpoint(entry, target)
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


def _endpoint(entry: Obj, port: int) -> Endpoint | None:
    """None for an entry that no back end could send anything to: one alone must not cost the others."""
    # Only the first address counts (API reference: consumers use the first, the others are for the future).
    ip = next(iter(entry.get("addresses") or ()), "")
    if not _is_ipv4(ip):
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
    pod_ip = status.get("podIP", "")
    if spec.get("hostNetwork") or not _is_ipv4(pod_ip) or is_terminal(pod):
        return
    for container in long_running(pod):
        for port in container.get("ports") or ():
            host_ip = port.get("hostIP") or ""
            if port.get("hostPort") and (not host_ip or _is_ipv4(host_ip)):
                wildcard = host_ip == "0.0.0.0"
                yield HostPort(
                    "" if wildcard else host_ip,
                    port.get("protocol", "TCP").lower(),
                    port["hostPort"],
                    pod_ip,
                    port["containerPort"],
                )


def _load_balancer_ips(service: Obj) -> tuple[str, ...]:
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    # ipMode Proxy: the load balancer wants to see the traffic itself (KEP-1860).
    return tuple(_ipv4s(entry.get("ip", "") for entry in ingress if entry.get("ipMode", "VIP") == "VIP"))


def _ranges(texts: Iterable[str]) -> tuple[str, ...]:
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.IPv4Network(text.strip(), strict=False))
        except ValueError:
            continue  # an IPv6 range: nothing of this family matches it
    return tuple(str(network) for network in ipaddress.collapse_addresses(networks))


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _ipv4s(texts: Iterable[str]) -> Iterator[str]:
    return (text for text in texts if _is_ipv4(text))


def _first_ipv4(texts: Iterable[str]) -> str:
    return next(_ipv4s(texts), "")
