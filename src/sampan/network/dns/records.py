"""What the cluster knows of names: Services, endpoints and namespaces, as ``resolve`` needs them.

``Records`` is the seam: ``InformerRecords`` reads informers as they are at the moment of the question, tests supply
their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sampan.api.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from sampan.api.types import Obj
from sampan.client.informer import Informer, InformerFactory

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_BY_SERVICE = "network-dns-service"
_BY_ADDRESS = "network-dns-address"


@dataclass(frozen=True, slots=True)
class NamedPort:
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


class Records(Protocol):
    def namespace_exists(self, name: str) -> bool: ...

    def service(self, namespace: str, name: str) -> NamedService | None: ...

    def endpoints(self, namespace: str, name: str) -> Sequence[NamedEndpoint]:
        """Ready endpoints of a Service, both address families."""
        ...

    def names_of(self, ip: str) -> Sequence[str]:
        """Names below ``svc.<domain>`` for an address of a Service or a headless Service's endpoint."""
        ...


class InformerRecords:
    """Invariant: holds nothing itself; every answer is of the informers' present."""

    def __init__(self, informers: InformerFactory) -> None:
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(ENDPOINT_SLICES)
        self._namespaces = informers.informer(NAMESPACES)
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._slices.add_index(_BY_ADDRESS, _addresses_of)
        self._services.add_index(_BY_ADDRESS, _cluster_ips)

    @property
    def informers(self) -> tuple[Informer, ...]:
        return self._services, self._slices, self._namespaces

    @property
    def version(self) -> tuple[int, ...]:
        """Changes whenever an answer may change."""
        return tuple(informer.revision for informer in self.informers)

    def namespace_exists(self, name: str) -> bool:
        return self._namespaces.get("", name) is not None

    def service(self, namespace: str, name: str) -> NamedService | None:
        service = self._services.get(namespace, name)
        return None if service is None else read_service(service)

    def endpoints(self, namespace: str, name: str) -> Sequence[NamedEndpoint]:
        found: dict[str, NamedEndpoint] = {}
        for endpoint_slice in self._slices.by_index(_BY_SERVICE, f"{namespace}/{name}"):
            for endpoint in read_endpoints(endpoint_slice):
                known = found.get(endpoint.ip)
                if known is not None:
                    # One pod's ports can lie in several slices when they differ between pods.
                    ports = tuple(dict.fromkeys((*known.ports, *endpoint.ports)))
                    endpoint = NamedEndpoint(endpoint.ip, known.name, ports)
                found[endpoint.ip] = endpoint
        return tuple(found.values())

    def names_of(self, ip: str) -> Sequence[str]:
        names = [
            f"{service['metadata']['name']}.{service['metadata']['namespace']}"
            for service in self._services.by_index(_BY_ADDRESS, ip)
        ]
        if names:
            return names
        for endpoint_slice in self._slices.by_index(_BY_ADDRESS, ip):
            owner = _service_of(endpoint_slice)
            for namespace, name in (key.split("/", 1) for key in owner):
                service = self.service(namespace, name)
                if service is not None and service.headless:
                    names += [
                        f"{endpoint.name}.{name}.{namespace}"
                        for endpoint in read_endpoints(endpoint_slice)
                        if endpoint.ip == ip
                    ]
        return list(dict.fromkeys(names))


def read_service(service: Obj) -> NamedService:
    meta, spec = service["metadata"], service.get("spec", {})
    external = spec.get("type") == "ExternalName"
    return NamedService(
        namespace=meta["namespace"],
        name=meta["name"],
        cluster_ips=() if external else _cluster_ips(service),
        ports=_ports(spec.get("ports") or ()),
        external_name=spec.get("externalName", "").rstrip(".") if external else "",
    )


def read_endpoints(endpoint_slice: Obj) -> list[NamedEndpoint]:
    ports = _ports(endpoint_slice.get("ports") or ())
    found: list[NamedEndpoint] = []
    for endpoint in endpoint_slice.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False or endpoint_slice.get("addressType") == "FQDN":
            continue
        for address in endpoint["addresses"]:
            found.append(NamedEndpoint(address, endpoint.get("hostname") or dashed(address), ports))
    return found


def dashed(ip: str) -> str:
    """``10-244-0-7``: the name of an endpoint without a hostname."""
    return ip.replace(".", "-").replace(":", "-")


def undashed(label: str) -> str:
    """The address that a dashed label stands for, "" if it is none."""
    for candidate in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            continue
    return ""


def _ports(entries: Iterable[Obj]) -> tuple[NamedPort, ...]:
    return tuple(
        NamedPort(entry.get("name") or "", entry.get("protocol", "TCP").lower(), entry["port"])
        for entry in entries
        if entry.get("port")
    )


def _cluster_ips(service: Obj) -> tuple[str, ...]:
    spec = service.get("spec", {})
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(address for address in addresses if address and address != "None")


def _service_of(endpoint_slice: Obj) -> tuple[str, ...]:
    meta = endpoint_slice["metadata"]
    name = meta.get("labels", {}).get(_SERVICE_NAME_LABEL)
    return (f"{meta['namespace']}/{name}",) if name else ()


def _addresses_of(endpoint_slice: Obj) -> list[str]:
    return [address for endpoint in endpoint_slice.get("endpoints") or () for address in endpoint["addresses"]]
