"""Lists and watches one resource of a server, for ever (client-go's ``Reflector``): one in another process, or what a
server in this one has no cache of for others.

Used by ``Informer``, and by who keeps less than objects (``PagedReflector``). It keeps the position in the server's
history and decides when to list again: at the start, and when the server has compacted the position (410). Every other
fault is answered by watching again from the same position after a jittered back-off. It stores nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, Protocol

from sampan.api.clock import Random
from sampan.api.errors import ApiError, Expired, Gone, NotFound, from_status
from sampan.api.reading import part
from sampan.api.resources import API_SERVICES, Resource
from sampan.api.transport import WatchEvent
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.keys import ObjectKey, key_of, revision_of
from sampan.client.signal import Signal

log = logging.getLogger(__name__)

BACKOFF_BASE_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 30.0
#: The server ends a watch after this long, doubled at random, so that clients do not all come back at once.
MIN_WATCH_SECONDS = 300
#: the same where the server is in this process: nothing is between, and a watch of which nothing is heard costs nothing
NEAR_WATCH_SECONDS = 24 * 3600
PAGE_SIZE = 500
#: what is not served is asked for again after the longest pause
_FAILURES_OF_THE_ABSENT = 20


class Sink(Protocol):
    """Where a reflector puts what it learns."""

    def replace(self, objects: Iterable[Obj], revision: int) -> None: ...
    def put(self, obj: Obj) -> None: ...
    def remove(self, obj: Obj) -> None: ...
    def advance(self, revision: int) -> None: ...


class Reflector:
    def __init__(
        self,
        client: Client,
        resource: Resource,
        sink: Sink,
        random: Random,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._random = random
        self._label_selector = label_selector
        self._field_selector = field_selector
        #: None: the next step is a list.
        self._position: int | None = None
        self._failures = 0
        #: the sink has been told what there is
        self._told = False

    async def run(self) -> None:
        while True:
            try:
                if self._position is None:
                    self._position = await self._list()
                progressed = await self._watch()
                # A server that ends each watch at once must not be hammered.
                if progressed:
                    self._failures = 0
                else:
                    await self._back_off()
            except (Expired, Gone):
                log.info("watch of %s is too old, listing again", self._resource.plural)
                self._position = None
                if self._failures:
                    await self._back_off()
                self._failures += 1
            except NotFound as error:
                # It is not served (``--runtime-config``): there is nothing, and who waits for its objects is told.
                if not self._told:
                    log.info("cannot follow %s: %s", self._resource.plural, error.message)
                    self._sink.replace((), 0)
                    self._told = True
                self._failures = max(self._failures, _FAILURES_OF_THE_ABSENT)
                await self._back_off()
            except ApiError as error:
                log.warning("cannot follow %s: %s", self._resource.plural, error.message)
                await self._back_off()

    async def _list(self) -> int:
        items: list[Obj] = []
        token = ""
        while True:
            page = await self._client.list(
                self._resource,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=PAGE_SIZE,
                continue_token=token,
            )
            items.extend(page.get("items") or ())
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                break
        for item in items:
            # A list carries kind and apiVersion once; handlers see whole objects.
            item.setdefault("kind", self._resource.kind)
            item.setdefault("apiVersion", self._resource.api_version)
        revision = revision_of(page)
        self._told = True
        self._sink.replace(items, revision)
        return revision

    async def _watch(self) -> bool:
        """True when the watch brought anything."""
        progressed = False
        near = self._is_near()
        shortest = NEAR_WATCH_SECONDS if near else MIN_WATCH_SECONDS
        seconds = shortest + self._random.randrange(shortest)
        async with self._client.watch(
            self._resource,
            resource_version=str(self._position),
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=seconds,
            bookmarks=not near,
        ) as events:
            async for event in events:
                self._handle(event)
                progressed = True
                self._failures = 0
        return progressed

    def _is_near(self) -> bool:
        """Whether the server in this process has the objects itself: what it passes on may fall silent on the way."""
        services = self._client.cache_view(API_SERVICES)
        if services is None:
            return False
        service = services.get("", f"{self._resource.version}.{self._resource.group}")
        return not part(part(service, "spec"), "service")

    def _handle(self, event: WatchEvent) -> None:
        if event.type == "ERROR":
            raise from_status(int(event.object.get("code") or 500), event.object)
        revision = revision_of(event.object)
        if event.type == "BOOKMARK":
            self._sink.advance(revision)
        elif event.type == "DELETED":
            self._sink.remove(event.object)
        else:
            self._sink.put(event.object)
        self._position = revision

    async def _back_off(self) -> None:
        limit = min(BACKOFF_BASE_SECONDS * 2.0 ** min(self._failures, 20), BACKOFF_MAX_SECONDS)
        self._failures += 1
        await asyncio.sleep(limit * (0.5 + self._random.random() / 2))


#: of ``PagedReflector``: the waits grow to some three seconds, no longer
_MOST_FAILURES: Final = 5


class PagedReflector(Reflector):
    """Tells object by object, page by page, and holds no list: who follows keeps of each what it means to him. Is its
    own sink: ``put`` and ``remove`` are its subclass's, and so is ``keep_only``. Whoever follows so wants news as soon
    as the API server is back.

    ``page_size``: of a request; ``at_once``: so many objects are told before others on the event loop have a turn.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        random: Random,
        *,
        page_size: int,
        at_once: int,
        field_selector: str = "",
    ) -> None:
        super().__init__(client, resource, self, random, field_selector=field_selector)
        self._page_size, self._at_once = page_size, at_once
        #: set once what was there at the beginning has been told
        self.synced = Signal()

    def put(self, obj: Obj) -> None:
        raise NotImplementedError

    def remove(self, obj: Obj) -> None:
        raise NotImplementedError

    def keep_only(self, listed: set[ObjectKey]) -> None:
        """These were listed: what else is known is gone."""
        raise NotImplementedError

    def advance(self, revision: int) -> None:
        """Nothing is remembered of it."""

    def replace(self, objects: Iterable[Obj], revision: int) -> None:
        """Of what is not served, or not any more."""
        self.keep_only(set(map(key_of, objects)))
        self.synced.set()

    async def _list(self) -> int:
        listed: set[ObjectKey] = set()
        token = ""
        while True:
            page = await self._client.list(
                self._resource, limit=self._page_size, continue_token=token, field_selector=self._field_selector
            )
            for index, item in enumerate(page.get("items") or ()):
                item.setdefault("kind", self._resource.kind)
                item.setdefault("apiVersion", self._resource.api_version)
                self.put(item)
                listed.add(key_of(item))
                if index % self._at_once == self._at_once - 1:
                    await asyncio.sleep(0)
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                break
        self.keep_only(listed)
        self._told = False  # should the kind be served no more, ``replace`` is called, and drops what there was
        self.synced.set()
        return revision_of(page)

    async def _back_off(self) -> None:
        self._failures = min(self._failures, _MOST_FAILURES)
        await super()._back_off()
