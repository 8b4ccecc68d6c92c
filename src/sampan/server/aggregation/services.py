"""Where a Service is reached from this machine: its cluster IP, or with endpoint routing one of its endpoints.

Spec: kube-apiserver's ``--enable-aggregator-routing``; k8s.io/apiserver util/proxy ResolveCluster, ResolveEndpoint.
"""

from __future__ import annotations

from typing import Protocol

from sampan.api.clock import Random
from sampan.api.reading import part, parts, text
from sampan.api.resources import ENDPOINT_SLICES, SERVICES
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.reader import ObjectReader

_WITH_ADDRESS = ("", "ClusterIP", "LoadBalancer", "NodePort")
SERVICE_NAME = "kubernetes.io/service-name"


class Unresolved(Exception):
    """There is no way to the Service; says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the machine's network, or of an ExternalName a name."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Resolver(Protocol):
    def resolve(self, namespace: str, name: str, port: int) -> Address:
        """Raises Unresolved."""
        ...


class ClusterAddresses:
    """The Service's own address: the machine's service proxy chooses the endpoint."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    def resolve(self, namespace: str, name: str, port: int) -> Address:
        service = _service(self._reader, namespace, name)
        spec = part(service, "spec")
        kind, address = text(spec, "type"), text(spec, "clusterIP")
        if kind == "ExternalName":
            return Address(text(spec, "externalName"), port)
        if kind not in _WITH_ADDRESS:
            raise Unresolved(f'unsupported service type "{kind}"')
        if address in ("", "None"):
            raise Unresolved('cannot route to service with ClusterIP "None"')
        port_of(service, port)
        return Address(address, port)


class Endpoints:
    """A ready endpoint, by chance: for machines that have no way to cluster IPs."""

    def __init__(self, reader: ObjectReader, random: Random) -> None:
        self._reader, self._random = reader, random

    def resolve(self, namespace: str, name: str, port: int) -> Address:
        service = _service(self._reader, namespace, name)
        if text(part(service, "spec"), "type") == "ExternalName":
            return Address(text(part(service, "spec"), "externalName"), port)
        wanted = text(port_of(service, port), "name")
        found = [
            Address(address, number["port"])
            for piece in slices_of(self._reader, namespace, name)
            for number in parts(piece, "ports")
            if text(number, "name") == wanted and isinstance(number.get("port"), int)
            for endpoint in parts(piece, "endpoints")
            if part(endpoint, "conditions").get("ready") is not False
            for address in endpoint.get("addresses") or ()
        ]
        if not found:
            raise Unresolved(f'no endpoints available for service "{name}"')
        return self._random.choice(found)


def port_of(service: Obj, number: int) -> Obj:
    """The Service's port of that number. Raises Unresolved."""
    for port in parts(part(service, "spec"), "ports"):
        if port.get("port") == number:
            return port
    raise Unresolved(f'no service port {number} found for service "{text(part(service, "metadata"), "name")}"')


def slices_of(reader: ObjectReader, namespace: str, name: str) -> list[Obj]:
    """The EndpointSlices of a Service; looks at all of the namespace."""
    return [
        piece
        for piece in reader.list(ENDPOINT_SLICES, namespace)
        if part(part(piece, "metadata"), "labels").get(SERVICE_NAME) == name
    ]


def _service(reader: ObjectReader, namespace: str, name: str) -> Obj:
    found = reader.get(SERVICES, namespace, name)
    if found is None:
        raise Unresolved(f'service "{name}" not found')
    return found
