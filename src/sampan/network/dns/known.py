"""All that DNS knows of the cluster, in the least room: no object of the API is kept.

Filled by ``follow`` from the API server, or by ``snapshot`` from what was known before; ``resolve`` reads it. One event
loop. The cost of a change is that of the one object, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

from sampan.client.keys import ObjectKey
from sampan.network.dns.records import NamedEndpoint, NamedService, NamedSlice

_K = TypeVar("_K", str, ObjectKey)
_V = TypeVar("_V")

#: Names of one address that are told, and slices that are looked at for them: many may list one node's address.
MAX_NAMES = 64
MAX_SLICES = 1024


class Known:
    """Invariant: the indexes (slices by Service, Services and slices by address) are those of what is held."""

    def __init__(self) -> None:
        self.services: dict[ObjectKey, NamedService] = {}
        self.slices: dict[ObjectKey, NamedSlice] = {}
        self.namespaces: set[str] = set()
        #: namespaces by address, of this node's pods, while search paths are followed for them
        self.pods: dict[str, str] = {}
        #: The Service of the cluster's DNS has pods of its own: others answer.
        self.aside = False
        #: What the ConfigMap of options says, so that it is there after a restart too.
        self.options: dict[str, str] = {}
        #: Changes whenever an answer may change.
        self.version = 0
        self._slices_of: dict[ObjectKey, dict[ObjectKey, None]] = {}
        self._services_at: dict[str, dict[ObjectKey, None]] = {}
        #: with the endpoint's name in each
        self._slices_at: dict[str, dict[ObjectKey, str]] = {}
        #: Endpoints of the Services that were asked for.
        self._endpoints: dict[ObjectKey, tuple[NamedEndpoint, ...]] = {}

    # Writing

    def put_service(self, service: NamedService) -> None:
        key = ObjectKey(service.namespace, service.name)
        if self.services.get(key) == service:
            return
        self.drop_service(key)
        self.services[key] = service
        for ip in service.cluster_ips:
            self._services_at.setdefault(ip, {})[key] = None
        self.version += 1

    def drop_service(self, key: ObjectKey) -> None:
        service = self.services.pop(key, None)
        if service is None:
            return
        for ip in service.cluster_ips:
            _drop(self._services_at, ip, key)
        self._endpoints.pop(key, None)
        self.version += 1

    def put_slice(self, endpoint_slice: NamedSlice) -> None:
        key = ObjectKey(endpoint_slice.namespace, endpoint_slice.name)
        if self.slices.get(key) == endpoint_slice:
            return
        self.drop_slice(key)
        self.slices[key] = endpoint_slice
        for address in endpoint_slice.addresses:
            self._slices_at.setdefault(address.ip, {})[key] = address.name
        owner = ObjectKey(endpoint_slice.namespace, endpoint_slice.service)
        self._slices_of.setdefault(owner, {})[key] = None
        self._endpoints.pop(owner, None)
        self.version += 1

    def drop_slice(self, key: ObjectKey) -> None:
        endpoint_slice = self.slices.pop(key, None)
        if endpoint_slice is None:
            return
        for address in endpoint_slice.addresses:
            _drop(self._slices_at, address.ip, key)
        owner = ObjectKey(endpoint_slice.namespace, endpoint_slice.service)
        _drop(self._slices_of, owner, key)
        self._endpoints.pop(owner, None)
        self.version += 1

    def put_namespace(self, name: str) -> None:
        if name not in self.namespaces:
            self.namespaces.add(name)
            self.version += 1

    def drop_namespace(self, name: str) -> None:
        if name in self.namespaces:
            self.namespaces.discard(name)
            self.version += 1

    def namespace_of_pod(self, ip: str) -> str:
        """ "": no pod of this node has the address, or nobody wants to know."""
        return self.pods.get(ip, "")

    # Reading (``records.Records``)

    def namespace_exists(self, name: str) -> bool:
        return name in self.namespaces

    def service(self, namespace: str, name: str) -> NamedService | None:
        return self.services.get(ObjectKey(namespace, name))

    def endpoints(self, namespace: str, name: str) -> Sequence[NamedEndpoint]:
        owner = ObjectKey(namespace, name)
        found = self._endpoints.get(owner)
        if found is None:
            found = self._endpoints[owner] = tuple(self._merged(owner))
        return found

    def names_of(self, ip: str) -> Sequence[str]:
        at = self._services_at.get(ip)
        if at:
            return [f"{key.name}.{key.namespace}" for key in islice(at, MAX_NAMES)]
        return list(dict.fromkeys(islice(self._endpoint_names(ip), MAX_NAMES)))

    def _merged(self, owner: ObjectKey) -> Iterator[NamedEndpoint]:
        found: dict[str, NamedEndpoint] = {}
        for key in self._slices_of.get(owner, ()):
            endpoint_slice = self.slices[key]
            for ip, name in endpoint_slice.addresses:
                known, ports = found.get(ip), endpoint_slice.ports
                if known is not None:
                    # One pod's ports can lie in several slices when they differ between pods.
                    name, ports = known.name, tuple(dict.fromkeys((*known.ports, *ports)))
                found[ip] = NamedEndpoint(ip, name, ports)
        yield from found.values()

    def _endpoint_names(self, ip: str) -> Iterator[str]:
        for key, name in islice(self._slices_at.get(ip, {}).items(), MAX_SLICES):
            service = self.service(key.namespace, self.slices[key].service)
            if service is not None and service.headless:
                yield f"{name}.{service.name}.{service.namespace}"


def _drop(index: dict[_K, dict[ObjectKey, _V]], value: _K, key: ObjectKey) -> None:
    held = index.get(value)
    if held is not None:
        held.pop(key, None)
        if not held:
            del index[value]
