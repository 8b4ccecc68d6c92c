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
from sampan.client.keys import ObjectKey, key_of, revision_of
from sampan.client.reflector import Reflector
from sampan.network.dns.known import Known
from sampan.network.dns.options import CONFIG_MAP, CONFIG_MAP_NAMESPACE
from sampan.network.dns.records import DNS_SERVICE, is_dns_of_others, read_service, read_slice
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: Small pages: the largest EndpointSlices have hundreds of endpoints, and questions wait while one page is read.
_PAGE_SIZE = 50
#: So many objects are read without a look at the questions that wait.
_AT_ONCE = 5
#: Names are wanted as soon as the API server is back: the waits grow to some three seconds, no longer.
_MOST_FAILURES = 5


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


class Follower(Reflector):
    """``synced`` is set once what was there at the beginning is known."""

    def __init__(self, client: Client, kind: Kind, random: Random) -> None:
        super().__init__(client, kind.resource, self, random, field_selector=kind.field_selector)
        self._kind = kind
        self.synced = asyncio.Event()
        #: the loop's time when the API server was last heard
        self.heard_at: float | None = None

    # The reflector's sink

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

    def replace(self, objects: Iterable[Obj], revision: int) -> None:
        """Not called: ``_list`` takes page by page."""
        raise NotImplementedError

    def _heard(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()

    async def _back_off(self) -> None:
        self._failures = min(self._failures, _MOST_FAILURES)
        await super()._back_off()

    # The reflector's list, without holding all of it at once

    async def _list(self) -> int:
        listed: set[ObjectKey] = set()
        token = ""
        while True:
            page = await self._client.list(
                self._resource, limit=_PAGE_SIZE, continue_token=token, field_selector=self._kind.field_selector
            )
            for index, item in enumerate(page.get("items") or ()):
                self.put(item)
                listed.add(key_of(item))
                if index % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                break
        for key in self._kind.held():
            if key not in listed:
                self._kind.drop(key)
        self._heard()
        self.synced.set()
        return revision_of(page)
