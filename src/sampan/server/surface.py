"""What the API serves at one moment: kinds, their versions, their storages. Immutable, and replaced as a whole.

A request takes ``Surfaces.current`` once, at its start, and asks that surface only; so a kind that comes or goes in the
middle of it changes nothing. Discovery and OpenAPI are made from a surface and kept per surface.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Final, TypeGuard

from sampan.api import schema
from sampan.api.kind import Kind
from sampan.api.registry import Registry, schema_name
from sampan.api.resources import Resource
from sampan.api.schema import Node
from sampan.api.transport import ChangeCallback, Part
from sampan.api.types import Obj
from sampan.server import requestinfo
from sampan.server.request import Request, RequestInfo
from sampan.server.storage import Converter, ResourceStorage, View
from sampan.store.cache import CachedEntry
from sampan.store.protocol import Store, StoreUnavailable
from sampan.store.ring import RingBudget

log = logging.getLogger(__name__)

#: of how many unreadable keys is remembered that they were logged
_TOLD_LIMIT = 1000

_serials = count()

Gvk = tuple[str, str, str]
#: of requests without a query, how many paths are remembered with what they mean, and up to which length
_KEPT_PATHS: Final = 1024
_KEPT_PATH: Final = 256
#: until a store that does not answer is asked again
_STORE_PAUSE_SECONDS: Final = 1.0
#: how long what is served no longer waits for the requests that still ask it
DRAIN_SECONDS: Final = 60.0

#: a watch that was away for longer than these reach reads on in the store's history
EVENTS_BYTES: Final = 32 * 1024 * 1024


class Surface:
    """``views`` by (group, version, kind); every kind that is stored has one."""

    def __init__(
        self,
        kinds: Registry,
        storages: Mapping[tuple[str, str], ResourceStorage],
        views: Mapping[Gvk, View],
        budget: RingBudget,
        ending: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self.kinds = kinds
        #: tells this surface from every other that there was
        self.serial = next(_serials)
        #: (group, plural) of custom resources whose definition is being deleted: nothing is created there any more
        self.ending = ending
        #: of the recent events that all caches keep together
        self._budget = budget
        self._storages = dict(storages)
        self._views = dict(views)
        #: requests that began with this surface and have not ended
        self._requests = 0
        self._emptied: asyncio.Event | None = None
        self._infos: dict[tuple[str, str], RequestInfo] = {}
        #: (group, version) pairs that are served
        self.versions = frozenset((group, version) for group, found in kinds.groups().items() for version in found)

    def info(self, request: Request) -> RequestInfo:
        """What the request's URL and method ask for. Raises BadRequest, NotFound.

        The same few collections are written to all the time; what depends on the query is found anew.
        """
        if request.query or len(request.raw_path) > _KEPT_PATH:
            return requestinfo.parse(request, self.kinds)
        asked = request.method, request.raw_path
        found = self._infos.get(asked)
        if found is None:
            found = requestinfo.parse(request, self.kinds)
            if len(self._infos) >= _KEPT_PATHS:
                self._infos.clear()
            self._infos[asked] = found
        return found

    @classmethod
    def build(
        cls,
        kinds: Registry,
        store: Store,
        *,
        kept: Surface | None = None,
        converters: Mapping[tuple[str, str], Converter] | None = None,
        ending: frozenset[tuple[str, str]] = frozenset(),
    ) -> Surface:
        """The surface of these kinds. Storages (and so caches and open watches) of ``kept`` whose stored kind is still
        the same are taken over; others are new and still have to be started. ``converters`` by (group, kind)."""
        converters = converters or {}
        budget = kept._budget if kept is not None else RingBudget(EVENTS_BYTES)
        storages: dict[tuple[str, str], ResourceStorage] = {}
        named: dict[str, dict[str, Kind]] = {}
        for kind in kinds.known():
            named.setdefault(kind.kind, {})[kind.api_version] = kind
        for kind in kinds.stored():
            name = (kind.group, kind.kind)
            before = kept._storages.get(name) if kept is not None else None
            if before is not None and before.kind is kind:
                storages[name] = before
            else:
                upgrade = _upgrade(named[kind.kind], kind)
                storages[name] = ResourceStorage(kind, store, upgrade, budget, keeps_versions=name in converters)
        views: dict[Gvk, View] = {}
        for kind in kinds.known():
            stored = kinds.storage(kind)
            storage = storages.get((stored.group, stored.kind))
            if storage is not None:
                gvk = (kind.group, kind.version, kind.kind)
                present = kept._views.get(gvk) if kept is not None else None
                converter = converters.get((kind.group, kind.kind))
                views[gvk] = present if _same(present, kind, storage, converter) else View(kind, storage, converter)
        return cls(kinds, storages, views, budget, ending)

    def storages(self) -> Iterable[ResourceStorage]:
        return self._storages.values()

    @property
    def in_use(self) -> bool:
        """Requests that began with this surface have not ended."""
        return self._requests > 0

    def enter(self) -> None:
        """A request begins with this surface; ``leave`` has to follow."""
        self._requests += 1

    def leave(self) -> None:
        self._requests -= 1
        if self._emptied is not None and not self._requests:
            self._emptied.set()

    async def wait_unused(self, seconds: float) -> None:
        """Returns when no request is asking this surface any more, and after ``seconds`` in any case."""
        if not self._requests:
            return
        self._emptied = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._emptied.wait()

    def view(self, kind: Kind) -> View:
        """KeyError: the kind is not stored (reviews)."""
        return self._views[kind.group, kind.version, kind.kind]

    def of(self, kind: Kind) -> ResourceStorage:
        """KeyError: the kind is not stored (reviews)."""
        return self.view(kind).storage

    def by_resource(self, resource: Resource) -> View | None:
        kind = self.kinds.by_resource(resource.group, resource.version, resource.plural)
        return self._views.get((kind.group, kind.version, kind.kind)) if kind is not None else None

    def node(self, group: str, version: str, kind: str) -> Node | None:
        """The structure of a body that is no resource (Scale, Eviction, DeleteOptions)."""
        compiled = schema.load()
        name = schema_name(group, version, kind)
        if name not in compiled:
            name = f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"
        return compiled.definition(name) if name in compiled else None


def _same(view: View | None, kind: Kind, storage: ResourceStorage, converter: Converter | None) -> TypeGuard[View]:
    return view is not None and view.kind is kind and view.storage is storage and view.converter is converter


def _upgrade(versions: Mapping[str, Kind], stored: Kind) -> Callable[[Obj, str], Obj]:
    """How objects that were stored in another version of the kind become ones of today's. ``versions``: all there are
    of its name (not the registry itself: caches outlive many of them)."""

    def upgrade(obj: Obj, api_version: str) -> Obj:
        kind = versions.get(api_version)
        if stored.custom and (kind is None or kind.to_stored is None):  # only the name of the version differs
            obj["kind"], obj["apiVersion"] = stored.kind, stored.api_version
            if stored.on_read is not None:
                stored.on_read(obj)
            return obj
        if kind is None:
            raise LookupError(f"no conversion from {api_version}")
        schema.normalise(kind.node, obj)
        converted = kind.to_stored(obj) if kind.to_stored is not None else obj
        converted["kind"], converted["apiVersion"] = stored.kind, stored.api_version
        stored.default(converted)
        return converted

    return upgrade


class Surfaces:
    """The one changeable thing: which surface new requests get."""

    def __init__(self, surface: Surface, dropped: Callable[[ResourceStorage], None] = lambda storage: None) -> None:
        """``dropped`` is told of every storage that is served no longer."""
        self.current = surface
        self._dropped = dropped
        self._replacing = asyncio.Lock()
        #: what waits for the requests of earlier surfaces to end; each also waits for the one before it
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fills the caches; after it everything a surface has answers at once. Raises StoreError."""
        async with asyncio.TaskGroup() as group:
            for storage in self.current.storages():
                group.create_task(storage.start(), name=f"cache {storage.prefix}")

    async def replace(self, make: Callable[[Surface], Surface]) -> None:
        """Serves ``make(the present surface)`` from now on; one replacement at a time.

        Caches that it brings are filled first; those it drops end, with their watches, when no request asks them any
        more: at once, or in a task. Raises StoreError: then everything is as it was.
        """
        async with self._replacing:
            before = self.current
            surface = make(before)
            had = {id(storage) for storage in before.storages()}
            new = [storage for storage in surface.storages() if id(storage) not in had]
            try:
                async with asyncio.TaskGroup() as group:
                    for storage in new:
                        group.create_task(storage.start(), name=f"cache {storage.prefix}")
            except BaseException:
                for storage in new:
                    storage.cache.close()
                raise
            self.current = surface
            kept = {id(storage) for storage in surface.storages()}
            gone = [storage for storage in before.storages() if id(storage) not in kept]
            earlier = self._draining if self._draining is not None and not self._draining.done() else None
            if earlier is None and not before.in_use:
                self._drop(gone)
            elif gone or before.in_use:
                name = "end of what is served no longer"
                self._draining = asyncio.create_task(self._drain(earlier, before, gone), name=name)

    async def _drain(self, earlier: asyncio.Task[None] | None, before: Surface, gone: list[ResourceStorage]) -> None:
        """Requests of an earlier surface may ask what ``before`` was the last to serve."""
        if earlier is not None:
            await earlier
        await before.wait_unused(DRAIN_SECONDS)
        self._drop(gone)

    def _drop(self, gone: list[ResourceStorage]) -> None:
        for storage in gone:
            storage.cache.close()
            self._dropped(storage)

    def close(self) -> None:
        """Ends all watches."""
        if self._draining is not None:
            self._draining.cancel()
        for storage in self.current.storages():
            storage.cache.close()


class StoredCacheView:
    """``sampan.api.transport.CacheView`` of one resource in its stored version."""

    def __init__(self, storage: ResourceStorage) -> None:
        self._storage = storage

    def get(self, namespace: str, name: str) -> Obj | None:
        entry = self._storage.cache.get(self._storage.key(namespace, name))
        return entry.object() if entry is not None and not entry.damaged else None

    def objects(self, part: Part | None = None) -> Iterable[Obj]:
        # One after another: of a kind that is not kept decoded, all at once would fill the memory.
        return (entry.object() for entry in self._entries(part or Part()) if not entry.damaged)

    def _entries(self, part: Part) -> Iterable[CachedEntry]:
        cache, storage = self._storage.cache, self._storage
        if (key := self._key(part)) is not None:
            entry = cache.get(key)
            found: Iterable[CachedEntry] = () if entry is None else (entry,)
        else:
            found = cache.entries(storage.key_prefix(part.namespace))
            if part.name:
                found = [entry for entry in found if entry.fields.get("metadata.name") == part.name]
        if part.field:
            found = [entry for entry in found if entry.fields.get(part.field, "") == part.value]
        return found

    def _key(self, part: Part) -> str | None:
        """The one key that the part can hold."""
        pinned = part.name and (part.namespace or not self._storage.kind.namespaced)
        return self._storage.key(part.namespace, part.name) if pinned else None

    def revision(self) -> int:
        return self._storage.cache.revision

    async def catch_up(self) -> None:
        while True:
            try:
                await self._storage.cache.barrier()
            except StoreUnavailable:
                await asyncio.sleep(_STORE_PAUSE_SECONDS)
            else:
                return

    def subscribe(self, callback: ChangeCallback, part: Part | None = None) -> Callable[[], None]:
        cache = self._storage.cache
        if part is None:
            return cache.subscribe(callback)
        only = (part.field, part.value) if part.field else None
        if part.name and only is None:
            only = "metadata.name", part.name
        return cache.subscribe_part(callback, self._storage.key_prefix(part.namespace), self._key(part), only)

    def keep(self) -> Callable[[], None]:
        return self._storage.cache.keep()


class SurfaceReader:
    """``sampan.server.reader.ObjectReader`` over the watch caches: what policy knows of stored objects.

    An object that cannot be read counts as absent: one damaged value must not end what looks at all the others.
    """

    def __init__(self, surfaces: Surfaces) -> None:
        self._surfaces = surfaces
        self._told: set[str] = set()

    def _storage(self, resource: Resource) -> ResourceStorage:
        view = self._surfaces.current.by_resource(resource)
        if view is None:
            raise KeyError(f"{resource.plural} is not stored")
        return view.storage

    def served(self, resource: Resource) -> object | None:
        """What serves the resource now, None: nothing; another value once its definition changed and who subscribed is
        told no more."""
        view = self._surfaces.current.by_resource(resource)
        return view.storage if view is not None else None

    def get(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        storage = self._storage(resource)
        entry = storage.cache.get(storage.key(namespace or "", name))
        return entry.object() if entry is not None and not entry.damaged else None

    def list(self, resource: Resource, namespace: str | None = None) -> Iterable[Obj]:
        storage = self._storage(resource)
        found = storage.cache.entries(storage.key_prefix(namespace or ""))
        damaged = [entry.key for entry in found if entry.damaged]
        if damaged and not self._told.issuperset(damaged):
            log.error("policy goes on without %d unreadable values, such as %s", len(damaged), damaged[0])
            self._told.update(damaged[:_TOLD_LIMIT])
        return [entry.object() for entry in found if not entry.damaged]

    def entry(self, resource: Resource, namespace: str, name: str) -> CachedEntry | None:
        """For who is content with what selectors see; it may be damaged."""
        storage = self._storage(resource)
        return storage.cache.get(storage.key(namespace, name))

    def entries(self, resource: Resource, namespace: str) -> Sequence[CachedEntry]:
        """The same of all in a namespace, or ("") in all, in the order of their keys."""
        storage = self._storage(resource)
        return storage.cache.entries(storage.key_prefix(namespace))

    def stored(self, resource: Resource, namespace: str, limit: int) -> tuple[Sequence[bytes], int]:
        storage = self._storage(resource)
        prefix = storage.key_prefix(namespace)
        found = storage.cache.entries(prefix, limit=limit)
        return [entry.value for entry in found if not entry.damaged], storage.cache.count(prefix)

    def revision(self, resource: Resource, namespace: str | None, name: str) -> int:
        storage = self._storage(resource)
        entry = storage.cache.get(storage.key(namespace or "", name))
        return entry.revision if entry is not None else 0

    def subscribe(self, resource: Resource, callback: ChangeCallback, *, keep: bool = True) -> Callable[[], None]:
        return self._storage(resource).cache.subscribe(callback, keep=keep)

    def on_change(
        self, resource: Resource, namespace: str, name: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        storage = self._storage(resource)
        return storage.cache.on_change(storage.key(namespace, name), changed)

    async def fresh(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        entry = await (storage := self._storage(resource)).newest(storage.key(namespace or "", name))
        return entry.object() if entry is not None and not entry.damaged else None
