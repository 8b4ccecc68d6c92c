"""Keeps ``known`` as the API server has it: one list and watch a resource, page by page, object by object.

An object that nobody foresaw costs itself alone: it has no name until it is written otherwise. While the API server is
away what is known stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from sampan.api.clock import Random
from sampan.api.pods.status import is_terminal
from sampan.api.reading import flag, part, parts, text
from sampan.api.resources import CONFIG_MAPS, ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.keys import ObjectKey, key_of
from sampan.client.reflector import PagedReflector
from sampan.network.dns.known import Known
from sampan.network.dns.options import CONFIG_MAP, CONFIG_MAP_NAMESPACE
from sampan.network.dns.records import DNS_SERVICE, is_dns_of_others, read_service, read_slice
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: Small pages: the largest EndpointSlices have hundreds of endpoints, and questions wait while one page is read.
_PAGE_SIZE = 50
#: So many objects are read without a look at the questions that wait.
_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """How one resource becomes part of ``known``."""

    resource: Resource
    put: Callable[[Obj], None]
    drop: Callable[[ObjectKey], None]
    held: Callable[[], Iterable[ObjectKey]]
    field_selector: str = ""


def kinds(known: Known) -> tuple[Kind, ...]:
    def put_service(service: Obj) -> None:
        if key_of(service) == DNS_SERVICE:
            known.aside = is_dns_of_others(service)
        known.put_service(read_service(service))

    def drop_service(key: ObjectKey) -> None:
        if key == DNS_SERVICE:
            known.aside = False
        known.drop_service(key)

    return (
        Kind(
            NAMESPACES,
            lambda obj: known.put_namespace(obj["metadata"]["name"]),
            lambda key: known.drop_namespace(key.name),
            lambda: [ObjectKey("", name) for name in known.namespaces],
        ),
        Kind(SERVICES, put_service, drop_service, lambda: list(known.services)),
        Kind(
            ENDPOINT_SLICES, lambda obj: known.put_slice(read_slice(obj)), known.drop_slice, lambda: list(known.slices)
        ),
    )


def options_kind(use: Callable[[Obj | None], None], name: str = CONFIG_MAP) -> Kind:
    """``use`` is given a ConfigMap of options, and None when there is none, or none any more."""
    named = ObjectKey(CONFIG_MAP_NAMESPACE, name)

    def put(config_map: Obj) -> None:
        if key_of(config_map) == named:
            use(config_map)

    def drop(key: ObjectKey) -> None:
        if key == named:
            use(None)

    # Held in any case: it may be known from the file alone.
    return Kind(CONFIG_MAPS, put, drop, lambda: [named], f"metadata.name={name}")


def pods_kind(known: Known, node_name: str) -> Kind:
    """Addresses of the node's pods, for whom search paths are followed."""
    addresses: dict[ObjectKey, tuple[str, ...]] = {}

    def put(pod: Obj) -> None:
        key, status = key_of(pod), part(pod, "status")
        drop(key)
        if flag(part(pod, "spec"), "hostNetwork") or is_terminal(pod):
            return
        addresses[key] = tuple(filter(None, (text(entry, "ip") for entry in parts(status, "podIPs"))))
        known.pods.update(dict.fromkeys(addresses[key], key.namespace))

    def drop(key: ObjectKey) -> None:
        for address in addresses.pop(key, ()):
            known.pods.pop(address, None)

    return Kind(PODS, put, drop, lambda: list(addresses), f"spec.nodeName={node_name}")


class Follower(PagedReflector):
    def __init__(self, client: Client, kind: Kind, random: Random) -> None:
        super().__init__(
            client, kind.resource, random, page_size=_PAGE_SIZE, at_once=_AT_ONCE, field_selector=kind.field_selector
        )
        self._kind = kind
        #: the loop's time when the API server was last heard
        self.heard_at: float | None = None

    def put(self, obj: Obj) -> None:
        try:
            self._kind.put(obj)
        except (AttributeError, KeyError, TypeError, ValueError):
            key = key_of(obj)
            log.warning("%s %s is not understood, it has no name", self._kind.resource.kind, key)
            self._kind.drop(key)
        self._heard()

    def remove(self, obj: Obj) -> None:
        self._kind.drop(key_of(obj))
        self._heard()

    def advance(self, revision: int) -> None:
        self._heard()

    def keep_only(self, listed: set[ObjectKey]) -> None:
        for key in self._kind.held():
            if key not in listed:
                self._kind.drop(key)
        self._heard()

    def _heard(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()
