"""Which resources an API server serves besides the built-in kinds, followed while they come and go.

For components that look after every resource (garbage collection, the end of namespaces). Aggregated discovery is asked
now and then; a document that has not changed costs nothing. A resource is followed in its group's preferred version.
One event loop; callbacks are called synchronously.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Final

from sampan.api import enablement
from sampan.api.errors import ApiError, MethodNotAllowed, NotAcceptable, NotFound
from sampan.api.reading import part, parts, text, texts
from sampan.api.resources import Resource
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.records import dataclass

log = logging.getLogger(__name__)

ACCEPT: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#: between two questions, where the server is in this process (upstream asks each 30 s), and where it is not
NEAR_SECONDS: Final = 1.0
FAR_SECONDS: Final = 30.0
_NEEDED: Final = frozenset(("list", "watch", "delete"))


@dataclass(frozen=True, slots=True)
class Discovered:
    """By group and kind. ``stale``: group versions whose server does not answer, so that they are not known in full."""

    resources: Mapping[tuple[str, str], Resource] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    #: those of them that have a Scale
    scaled: frozenset[tuple[str, str]] = frozenset()


def read_discovery(document: Any) -> Discovered:
    """What an APIGroupDiscoveryList says of resources that are no built-in kinds. Pure."""
    known = enablement.standard()
    found: dict[tuple[str, str], Resource] = {}
    stale: list[str] = []
    scaled: set[tuple[str, str]] = set()
    for item in parts(document, "items"):
        group = text(part(item, "metadata"), "name")
        for served in parts(item, "versions"):
            version = text(served, "version")
            if text(served, "freshness") == "Stale":
                stale.append(f"{group}/{version}" if group else version)
            for resource in parts(served, "resources"):
                kind, plural = text(part(resource, "responseKind"), "kind"), text(resource, "resource")
                if known.by_resource(group, version, plural) or not set(texts(resource, "verbs")) >= _NEEDED:
                    continue
                namespaced = text(resource, "scope") == "Namespaced"
                chosen = found.setdefault((group, kind), Resource(group, version, plural, kind, namespaced))
                has_scale = any(text(each, "subresource") == "scale" for each in parts(resource, "subresources"))
                if has_scale and chosen.version == version:
                    scaled.add((group, kind))
    return Discovered(found, tuple(stale), frozenset(scaled))


class ServedResources:
    """``added`` is called for each resource that is found, ``removed`` for each that is not found any more."""

    def __init__(self, client: Client, added: Callable[[Resource], None], removed: Callable[[Resource], None]) -> None:
        self._client, self._added, self._removed = client, added, removed
        self._document: Any = None
        self._known = Discovered()
        #: an answer must not take the place of one to a later question
        self._asking = asyncio.Lock()

    @property
    def stale(self) -> tuple[str, ...]:
        return self._known.stale

    def find(self, group: str, kind: str) -> Resource | None:
        return self._known.resources.get((group, kind))

    def has_scale(self, group: str, kind: str) -> bool:
        return (group, kind) in self._known.scaled

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._known.resources.values())

    async def refresh(self) -> None:
        """Asks now. Raises ApiError."""
        async with self._asking:
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            document = await self._client.transport.call(Call("GET", "/apis", accept=ACCEPT))
        except (NotFound, NotAcceptable, MethodNotAllowed):
            return  # a server that does not tell
        if document is self._document or document == self._document:
            return
        self._document = document
        before, self._known = self._known, read_discovery(document)
        for resource in set(before.resources.values()) - set(self._known.resources.values()):
            self._removed(resource)
        for resource in self._known.resources.values():
            if before.resources.get((resource.group, resource.kind)) != resource:
                self._added(resource)

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        near = self._client.cache_view(_ANY_BUILT_IN) is not None
        while True:
            try:
                await self.refresh()
            except ApiError as error:
                log.warning("it cannot be found out what is served: %s", error.message)
            await asyncio.sleep(NEAR_SECONDS if near else FAR_SECONDS)


_ANY_BUILT_IN: Final = Resource("", "v1", "namespaces", "Namespace", False)
