"""What names need of Services and EndpointSlices, as values, and reading it from the API's objects. Pure.

``Records`` is the seam between what is known and ``resolve``: ``known.Known`` implements it, tests supply their own.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sampan.api.types import Obj
from sampan.network.dns.names import Malformed, labels_of

DNS_SERVICE = ("kube-system", "kube-dns")
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class NamedPort(NamedTuple):
    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class NamedEndpoint:
    """A ready endpoint. ``name`` is its hostname, or its address with dashes."""

    ip: str
    name: str
    ports: tuple[NamedPort, ...]


@dataclass(frozen=True, slots=True)
class NamedService:
    """``cluster_ips`` is empty for headless Services, ``external_name`` for all but ExternalName."""

    namespace: str
    name: str
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    external_name: str = ""

    @property
    def headless(self) -> bool:
        return not self.cluster_ips and not self.external_name


class NamedAddress(NamedTuple):
    ip: str
    name: str


@dataclass(frozen=True, slots=True)
class NamedSlice:
    """The ready endpoints of one EndpointSlice. ``service`` "": it belongs to none."""

    namespace: str
    name: str
    service: str = ""
    ports: tuple[NamedPort, ...] = ()
    addresses: tuple[NamedAddress, ...] = ()


class Records(Protocol):
    def namespace_exists(self, name: str) -> bool: ...

    def service(self, namespace: str, name: str) -> NamedService | None: ...

    def endpoints(self, namespace: str, name: str) -> Sequence[NamedEndpoint]:
        """Ready endpoints of a Service, both address families."""
        ...

    def names_of(self, ip: str) -> Sequence[str]:
        """Names below ``svc.<domain>`` for an address of a Service or a headless Service's endpoint."""
        ...


def is_dns_of_others(service: Obj) -> bool:
    """Whether it sends the cluster's questions to pods: CoreDNS or kube-dns, installed as anywhere else."""
    meta = service["metadata"]
    return (meta["namespace"], meta["name"]) == DNS_SERVICE and bool((service.get("spec") or {}).get("selector"))


def read_service(service: Obj) -> NamedService:
    meta, spec = service["metadata"], service.get("spec", {})
    external = spec.get("type") == "ExternalName"
    return NamedService(
        namespace=meta["namespace"],
        name=meta["name"],
        cluster_ips=() if external else _cluster_ips(spec),
        ports=_ports(spec.get("ports") or ()),
        external_name=spec.get("externalName", "").rstrip(".") if external else "",
    )


def read_slice(endpoint_slice: Obj) -> NamedSlice:
    meta = endpoint_slice["metadata"]
    addresses: list[NamedAddress] = []
    if endpoint_slice.get("addressType") != "FQDN":
        for endpoint in endpoint_slice.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            hostname = endpoint.get("hostname") or ""
            addresses += [
                NamedAddress(address, hostname or dashed(address))
                for address in endpoint["addresses"]
                if _is_address(address) and (not hostname or _is_label(hostname))
            ]
    return NamedSlice(
        namespace=meta["namespace"],
        name=meta["name"],
        service=(meta.get("labels") or {}).get(SERVICE_NAME_LABEL) or "",
        ports=_ports(endpoint_slice.get("ports") or ()),
        addresses=tuple(addresses),
    )


def dashed(ip: str) -> str:
    """``10-244-0-7``: the name of an endpoint without a hostname."""
    return ip.replace(".", "-").replace(":", "-")


def undashed(label: str) -> str:
    """The address that a dashed label stands for, "" if it is none."""
    for candidate in (label.replace("-", "."), label.replace("-", ":")):
        if _is_address(candidate):
            return str(ipaddress.ip_address(candidate))
    return ""


def _ports(entries: Iterable[Obj]) -> tuple[NamedPort, ...]:
    return tuple(
        NamedPort(sys.intern(entry.get("name") or ""), sys.intern(entry.get("protocol", "TCP").lower()), entry["port"])
        for entry in entries
        if entry.get("port")
    )


def _cluster_ips(spec: Obj) -> tuple[str, ...]:
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(address for address in addresses if address and _is_address(address))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_label(text: str) -> bool:
    try:
        return len(labels_of(text)) == 1
    except Malformed:
        return False
