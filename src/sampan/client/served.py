"""Which resources an API server serves besides the built-in kinds, followed while they come and go.

For components that look after every resource (garbage collection, the end of namespaces). Aggregated discovery is asked
now and then; a document that has not changed costs nothing. A server in this process is asked often after a change of
what its discovery is made of (``Pace``), and not at all when there is nothing new to be had. A resource is followed in
its group's preferred version. One event loop; callbacks are called synchronously.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Final

from sampan.api import enablement
from sampan.api.errors import ApiError, MethodNotAllowed, NotAcceptable, NotFound
from sampan.api.reading import part, parts, text, texts
from sampan.api.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, Resource
from sampan.api.transport import Call, Transport
from sampan.client.client import Client
from sampan.client.signal import Signal
from sampan.records import dataclass

log = logging.getLogger(__name__)

ACCEPT: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#: between two questions: while something new is awaited of a server in this process; and as upstream
NEAR_SECONDS: Final = 1.0
FAR_SECONDS: Final = 30.0
#: after a change so long as often as that, and then for so long now and then, should a server be late
_NEWS_SECONDS: Final = 30.0
_LATE_SECONDS: Final = 600.0
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
        with Pace(self._client.transport) as pace:
            while True:
                try:
                    await self.refresh()
                except ApiError as error:
                    pace.changed()
                    log.warning("it cannot be found out what is served: %s", error.message)
                await pace.wait()


class Pace:
    """When to ask next. Only definitions of custom resources and API services change the answer of a server in this
    process, and what other API servers serve: these are asked about for as long as there are any."""

    def __init__(self, transport: Transport) -> None:
        self._sources = [transport.cache_view(each) for each in (CUSTOM_RESOURCE_DEFINITIONS, API_SERVICES)]
        self._unsubscribe: list[Callable[[], None]] = []
        self._news = Signal()
        self._since = -math.inf

    def __enter__(self) -> Pace:
        for view in filter(None, self._sources):
            self._unsubscribe.append(view.subscribe(lambda *change: self.changed()))
        self.changed()
        return self

    def __exit__(self, *error: object) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def changed(self) -> None:
        """Something new is awaited."""
        self._since = asyncio.get_running_loop().time()
        self._news.set()

    async def wait(self) -> None:
        """Until it is time to ask."""
        self._news.clear()
        seconds = self._seconds()
        if seconds is None:
            await self._news.wait()
            seconds = NEAR_SECONDS
        if seconds <= NEAR_SECONDS:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _seconds(self) -> float | None:
        """Until then; None: until something changes."""
        definitions, services = self._sources
        if definitions is None or services is None:
            return FAR_SECONDS
        passed = asyncio.get_running_loop().time() - self._since
        if passed < _NEWS_SECONDS:
            return NEAR_SECONDS
        elsewhere = any(part(part(each, "spec"), "service") for each in services.objects())
        return FAR_SECONDS if elsewhere or passed < _LATE_SECONDS else None
