"""Storage of resources: one ``ResourceStorage`` for each stored kind, with its keys, its bytes and its watch cache.

Used by ``rest`` (every verb), ``local`` (cache views of components) and ``reader`` users (policy). The form of keys and
values is docs/architecture.md, section 12.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import orjson

from sampan.api import fields, objects
from sampan.api.kind import Kind
from sampan.api.registry import Registry, schema_name
from sampan.api.resources import Resource
from sampan.api.schema import Node, Schema
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.store.cache import WatchCache
from sampan.store.protocol import Entry, Store

log = logging.getLogger(__name__)

#: of how many unreadable keys is remembered that they were logged
_TOLD_LIMIT = 1000

#: every stored value starts with these bytes; the served form puts the resourceVersion behind them
VALUE_HEAD = b'{"metadata":{'
_HEAD_LENGTH = len(VALUE_HEAD)
_NOT_STORED = frozenset({"kind", "apiVersion", "metadata"})


def stored_value(obj: Obj) -> bytes:
    """The stored form of an object: metadata first, without kind, apiVersion and resourceVersion."""
    metadata = obj["metadata"]
    body: Obj = {"metadata": {key: value for key, value in metadata.items() if key != "resourceVersion"}}
    for key, value in obj.items():
        if key not in _NOT_STORED:
            body[key] = value
    return orjson.dumps(body)


def with_revision(obj: Obj, kind: Kind, revision: int) -> Obj:
    """The decoded form, in the order of the served one. Shares what is below metadata."""
    metadata = {"resourceVersion": str(revision), **obj["metadata"]}
    metadata["resourceVersion"] = str(revision)
    result: Obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    for key, value in obj.items():
        if key not in _NOT_STORED:
            result[key] = value
    return result


class ResourceStorage:
    """What is stored of one resource. All served versions of a kind share one of these."""

    def __init__(self, kind: Kind, store: Store) -> None:
        self.kind = kind
        self.store = store
        self.prefix = f"/registry/{kind.group or 'core'}/{kind.plural}/"
        self._object_head = b'{"kind":"%s","apiVersion":"%s","metadata":{"resourceVersion":"' % (
            kind.kind.encode(),
            kind.api_version.encode(),
        )
        self.cache = WatchCache(store, self.prefix, self.describe, self.decode)

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.kind.namespaced else self.prefix + name

    def key_prefix(self, namespace: str) -> str:
        """Of all objects, or of those in one namespace."""
        return f"{self.prefix}{namespace}/" if namespace and self.kind.namespaced else self.prefix

    def decode(self, value: bytes, revision: int) -> Obj:
        decoded: Obj = orjson.loads(b'%s%d",%s' % (self._object_head, revision, value[_HEAD_LENGTH:]))
        return decoded

    def describe(self, obj: Obj) -> tuple[dict[str, str], dict[str, str]]:
        """Labels and selectable fields: what selectors see of an object."""
        return obj["metadata"].get("labels") or {}, fields.object_fields(obj, self.kind.selectable_fields(obj))

    async def fresh(self, key: str) -> Entry | None:
        """The newest entry in the store itself, past a cache that may lag behind."""
        return await self.store.get(key)

    async def commit(self, key: str, expected: int, obj: Obj) -> Written:
        """Raises RevisionConflict, StoreUnavailable."""
        value = stored_value(obj)
        revision = await self.store.commit(key, expected, value)
        return Written(value, revision, with_revision(obj, self.kind, revision))

    async def remove(self, key: str, expected: int) -> int:
        """The revision of the deletion. Raises RevisionConflict, StoreUnavailable."""
        return await self.store.commit(key, expected, None)


class Written:
    """An object as one commit left it. ``value`` None: a dry run, nothing was stored."""

    __slots__ = ("_obj", "revision", "value")

    def __init__(self, value: bytes | None, revision: int, obj: Obj) -> None:
        self.value, self.revision, self._obj = value, revision, obj

    def object(self) -> Obj:
        return self._obj


class HasObject(Protocol):
    def object(self) -> Obj: ...


class Versioned(HasObject, Protocol):
    """An object at a revision: an entry of the cache, or what was just written."""

    @property
    def value(self) -> bytes | None: ...
    @property
    def revision(self) -> int: ...


class View:
    """One served version of a stored resource: how entries become its bytes and its dicts."""

    def __init__(self, kind: Kind, storage: ResourceStorage, node: Node) -> None:
        self.kind, self.storage, self.node = kind, storage, node
        names = (kind.kind.encode(), kind.api_version.encode())
        self._head = b'{"kind":"%s","apiVersion":"%s","metadata":{"resourceVersion":"' % names
        self.list_head = b'{"kind":"%sList","apiVersion":"%s","metadata":' % names
        self.converts = kind.from_stored is not None

    def served(self, value: bytes, revision: int) -> bytes:
        """The JSON of an object from its stored form."""
        if self.converts:
            return orjson.dumps(self.from_stored(self.storage.decode(value, revision)))
        return b'%s%d",%s' % (self._head, revision, value[_HEAD_LENGTH:])

    def item(self, value: bytes, revision: int) -> bytes:
        """The same as an item of a list: without kind and apiVersion, which the list has."""
        if self.converts:
            obj = self.from_stored(self.storage.decode(value, revision))
            return orjson.dumps({key: part for key, part in obj.items() if key not in ("kind", "apiVersion")})
        return b'{"metadata":{"resourceVersion":"%d",%s' % (revision, value[_HEAD_LENGTH:])

    def readable(self, item: HasObject) -> Obj:
        """The object in this version, to be read only: it may be the cache's own."""
        if self.converts:
            return self.from_stored(objects.deep_copy(item.object()))
        return item.object() if self.kind is self.storage.kind else self.from_stored(item.object())

    def writable(self, item: HasObject) -> Obj:
        """The object in this version, the caller's own."""
        return self.from_stored(objects.deep_copy(item.object()))

    def from_stored(self, obj: Obj) -> Obj:
        """This version of a decoded object of the stored kind. The argument may be changed or become the result."""
        if self.kind.from_stored is not None:
            obj = self.kind.from_stored(obj)
        elif self.kind is not self.storage.kind:
            obj = {**obj}
        obj["kind"], obj["apiVersion"] = self.kind.kind, self.kind.api_version
        return obj

    def to_stored(self, obj: Obj) -> Obj:
        if self.kind.to_stored is not None:
            obj = self.kind.to_stored(obj)
        obj["kind"], obj["apiVersion"] = self.storage.kind.kind, self.storage.kind.api_version
        return obj


class Storages:
    """All resources of a server. ``start`` fills the caches; after it everything here answers at once."""

    def __init__(self, store: Store, kinds: Registry, schema: Schema) -> None:
        self.store, self.kinds, self.schema = store, kinds, schema
        self._by_kind: dict[tuple[str, str], ResourceStorage] = {
            (kind.group, kind.kind): ResourceStorage(kind, store) for kind in kinds.stored()
        }
        self._views: dict[tuple[str, str, str], View] = {}
        self._version = frozenset(
            (group, version) for group, versions in kinds.groups().items() for version in versions
        )

    async def start(self) -> None:
        async with asyncio.TaskGroup() as group:
            for storage in self._by_kind.values():
                group.create_task(storage.cache.start(), name=f"cache {storage.prefix}")

    def close(self) -> None:
        """Ends all watches."""
        for storage in self._by_kind.values():
            storage.cache.close()

    @property
    def served_versions(self) -> frozenset[tuple[str, str]]:
        return self._version

    def stored(self) -> Iterable[ResourceStorage]:
        return self._by_kind.values()

    def of(self, kind: Kind) -> ResourceStorage:
        """KeyError: the kind is not stored (reviews)."""
        stored = self.kinds.storage(kind)
        return self._by_kind[stored.group, stored.kind]

    def view(self, kind: Kind) -> View:
        key = (kind.group, kind.version, kind.kind)
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(kind, self.of(kind), self.schema.definition(kind.schema))
        return view

    def node(self, group: str, version: str, kind: str) -> Node | None:
        """The structure of a body that is no resource (Scale, Eviction, DeleteOptions)."""
        name = schema_name(group, version, kind)
        if name not in self.schema:
            name = f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"
        return self.schema.definition(name) if name in self.schema else None

    def by_resource(self, resource: Resource) -> ResourceStorage | None:
        kind = self.kinds.by_resource(resource.group, resource.version, resource.plural)
        return self.of(kind) if kind is not None and "list" in kind.verbs else None


class StoredCacheView:
    """``sampan.api.transport.CacheView`` of one resource in its stored version."""

    def __init__(self, storage: ResourceStorage) -> None:
        self._storage = storage

    def get(self, namespace: str, name: str) -> Obj | None:
        entry = self._storage.cache.get(self._storage.key(namespace, name))
        return entry.object() if entry is not None else None

    def objects(self) -> Iterable[Obj]:
        return [entry.object() for entry in self._storage.cache.entries(self._storage.prefix)]

    def revision(self) -> int:
        return self._storage.cache.revision

    def subscribe(self, callback: Callable[[EventType, Obj, Obj | None, int], None]) -> Callable[[], None]:
        return self._storage.cache.subscribe(callback)


class CacheReader:
    """``sampan.server.reader.ObjectReader`` over the watch caches: what policy knows of stored objects."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._told: set[str] = set()

    def _storage(self, resource: Resource) -> ResourceStorage:
        storage = self._storages.by_resource(resource)
        if storage is None:
            raise KeyError(f"{resource.plural} is not stored")
        return storage

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

    def revision(self, resource: Resource, namespace: str | None, name: str) -> int:
        storage = self._storage(resource)
        entry = storage.cache.get(storage.key(namespace or "", name))
        return entry.revision if entry is not None else 0

    def subscribe(
        self,
        resource: Resource,
        callback: Callable[[EventType, Obj, Obj | None, int], None],
        *,
        keep: bool = True,
    ) -> Callable[[], None]:
        return self._storage(resource).cache.subscribe(callback, keep=keep)

    async def fresh(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        storage = self._storage(resource)
        entry = await storage.fresh(storage.key(namespace or "", name))
        return storage.decode(entry.value, entry.revision) if entry is not None else None
