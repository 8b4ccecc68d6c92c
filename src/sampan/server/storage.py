"""Storage of one resource: its keys, its stored bytes, its watch cache, and the versions that it is served in.

Used by ``rest`` (every verb) and, through ``surface``, by components and policy. The form of keys and values is
docs/architecture.md, section 12. Concurrency: the event loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, Protocol

import orjson

from sampan.api import errors, fields, objects, schema
from sampan.api.apply.interned import SETS
from sampan.api.kind import Kind
from sampan.api.pods.sharing import PARTS
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.server import fencing
from sampan.server.stream import Batch
from sampan.server.threads import aside, is_heavy, paced
from sampan.store.cache import START_STEP, CachedEntry, WatchCache
from sampan.store.protocol import Entry, EntryDamaged, Guard, Store
from sampan.store.ring import RingBudget

_serials = count()

#: what stored values began with before they said their version: such a value is of the kind's stored version
_OLD_HEAD = b'{"metadata":{'
_HEAD: Final[Obj] = {"kind": None, "apiVersion": None, "metadata": None}
#: etcd's ``--max-request-bytes``: what does not fit there must not be stored here either
MAX_OBJECT_BYTES: Final = 1536 * 1024
#: values that are read in one turn of the loop when a cache starts, where each has to be looked through
_REREAD_STEP: Final = 25

#: an object of another stored version, given with its apiVersion, as one of the version stored today; may change it.
#: LookupError: nobody knows that version
Upgrade = Callable[[Obj, str], Obj]


def object_head(kind: Kind) -> bytes:
    """How every stored and served value of a kind begins, up to the first field of metadata."""
    names = (kind.kind.encode(), kind.api_version.encode())
    return b'{"kind":"%s","apiVersion":"%s","metadata":{' % names


def _no_upgrade(obj: Obj, api_version: str) -> Obj:
    raise LookupError(api_version)


class ResourceStorage:
    """What is stored of one resource. All served versions of a kind share one of these.

    A stored value is ``head``, then metadata without resourceVersion, then the rest; so the served form is a splice.
    """

    def __init__(
        self,
        kind: Kind,
        store: Store,
        upgrade: Upgrade = _no_upgrade,
        budget: RingBudget | None = None,
        *,
        keeps_versions: bool = False,
    ) -> None:
        """``budget``: what this cache and others may keep of recent events, together. ``keeps_versions``: only
        somebody else can convert (a webhook), so that values of other versions stay as they are until then."""
        self.kind = kind
        self.store = store
        #: tells this storage from every other that there was, of the same resource too
        self.serial = next(_serials)
        self.prefix = f"/registry/{kind.group or 'core'}/{kind.plural}/"
        self.head = object_head(kind)
        self.head_length = len(self.head)
        self._versioned_head = self.head + b'"resourceVersion":"'
        self._upgrade = upgrade
        self.keeps_versions = keeps_versions
        #: objects that the cache keeps have their parts in common
        self._shares = (kind.group, kind.plural) == ("", "pods")
        self.cache = WatchCache(
            store,
            self.prefix,
            self.describe,
            self._decode_shared if self._shares else self.decode,
            current=self.current,
            adopt=self._adopt,
            batch=Batch,
            budget=budget,
            keeps_objects=kind.kept_decoded,
            start_step=START_STEP if kind.on_read is None else _REREAD_STEP,
        )

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.kind.namespaced else self.prefix + name

    def key_prefix(self, namespace: str) -> str:
        """Of all objects, or of those in one namespace."""
        return f"{self.prefix}{namespace}/" if namespace and self.kind.namespaced else self.prefix

    async def start(self) -> None:
        """Fills the cache; what was stored before its kind had a time to live gets one. Raises StoreError."""
        await self.cache.start()
        if self.kind.ttl_seconds is not None:
            await self.store.limit_life(self.prefix, self.kind.ttl_seconds)

    # The stored form

    def encode(self, obj: Obj) -> bytes:
        """The stored form. Raises RequestEntityTooLarge."""
        metadata = obj["metadata"]
        version = obj.get("apiVersion") if self.keeps_versions else None
        body: Obj = {**_HEAD, **obj}  # the head first, whatever the order in the object
        body["kind"], body["apiVersion"] = self.kind.kind, version or self.kind.api_version
        if "resourceVersion" in metadata:
            body["metadata"] = kept = metadata.copy()
            del kept["resourceVersion"]
        try:
            # orjson's bytes keep the buffer they were written to, 8 KiB for the smallest: what is stored is a copy.
            value = bytes(memoryview(orjson.dumps(body)))
        except orjson.JSONEncodeError as error:
            raise errors.BadRequest("the object cannot be encoded: it is nested too deep, or holds no JSON") from error
        if len(value) > MAX_OBJECT_BYTES:
            if metadata.pop("managedFields", None):
                return self.encode(obj)  # upstream, too, gives up those before it refuses an object
            # etcd's own words, which clients match on; upstream answers them with 500, though no retry can help
            raise errors.RequestEntityTooLarge("etcdserver: request is too large")
        return value

    def current(self, value: bytes) -> bytes:
        """A stored value as it would be written today: itself, unless it was written by an older version.

        Raises ValueError, LookupError, TypeError, AttributeError: nobody can read it.
        """
        if value.startswith(self.head):
            return value if self.kind.on_read is None else self._reread(value, self.kind.on_read)
        obj: Obj = orjson.loads(value)
        api_version = obj.get("apiVersion") or self.kind.api_version
        if self.keeps_versions:
            return value
        if value.startswith(_OLD_HEAD) or api_version == self.kind.api_version:
            schema.normalise(self.kind.node, obj)
        else:
            obj = self._upgrade(obj, api_version)
        return self.encode(obj)

    def _reread(self, value: bytes, on_read: Callable[[Obj], None]) -> bytes:
        obj: Obj = orjson.loads(value)
        try:
            on_read(obj)
            found = self.encode(obj)
        except errors.RequestEntityTooLarge:
            return value  # today's defaults would make it too long to be stored: it stays as it is
        return value if found == value else found

    def decode(self, value: bytes, revision: int) -> Obj:
        """The object of a stored value, with its resourceVersion: the caller's own, but for its managed fields. Raises
        as ``current``."""
        if not value.startswith(self.head):
            if self.keeps_versions:
                return self.with_revision(orjson.loads(value), revision)
            value = self.current(value)
        decoded: Obj = orjson.loads(b'%s%d",%s' % (self._versioned_head, revision, value[self.head_length :]))
        if "managedFields" in decoded["metadata"]:
            SETS.share(decoded["metadata"])
        return decoded

    def _decode_shared(self, value: bytes, revision: int) -> Obj:
        """The same for the cache, whose objects nobody changes."""
        return PARTS.pod(self.decode(value, revision))

    def describe(self, obj: Obj) -> tuple[dict[str, str], dict[str, str]]:
        """Labels and selectable fields: what selectors see of an object."""
        return obj["metadata"].get("labels") or {}, fields.object_fields(obj, self.kind.selectable_fields(obj))

    def _adopt(self, note: object, revision: int) -> Obj:
        """The decoded form of what a commit carried along."""
        if not isinstance(note, dict):
            raise TypeError("a commit of an object carries the object")
        adopted = self.with_revision(note, revision)
        return PARTS.pod(adopted) if self._shares else adopted

    def with_revision(self, obj: Obj, revision: int) -> Obj:
        """The decoded form, in the order of the served one. Shares what is below metadata."""
        metadata = {"resourceVersion": "", **obj["metadata"]}
        metadata["resourceVersion"] = str(revision)
        version = obj.get("apiVersion") if self.keeps_versions else None
        result: Obj = {**_HEAD, **obj}
        result["kind"], result["apiVersion"] = self.kind.kind, version or self.kind.api_version
        result["metadata"] = metadata
        return result

    # The store

    def cached(self, key: str) -> Stored | None:
        """What the cache has, decoded at most once however often it is asked."""
        entry = self.cache.get(key)
        return self._stored(entry) if entry is not None else None

    async def newest(self, key: str) -> Stored | None:
        """What the store itself has: for every answer that a cache which may be behind must not give."""
        entry = await self.fresh(key)
        if entry is None:
            return None
        try:
            heavy = is_heavy(entry.value)
        except EntryDamaged:
            heavy = False
        return await paced(heavy, self._read, entry)

    def _read(self, entry: Entry) -> Stored:
        """An entry of the store, decoded."""
        try:
            value = self.current(entry.value)
            obj = self.decode(value, entry.revision)
            self.describe(obj)  # what has no metadata is damaged to the cache, too
        except (EntryDamaged, ValueError, TypeError, LookupError, AttributeError):
            return Stored(self, entry.key, None, entry.revision, damaged=True)
        return Stored(self, entry.key, value, entry.revision, obj)

    def _stored(self, entry: CachedEntry) -> Stored:
        value = None if entry.damaged else entry.value
        obj = entry.kept() if value is not None else None
        return Stored(self, entry.key, value, entry.revision, obj, damaged=value is None)

    async def fresh(self, key: str) -> Entry | None:
        """The same, as the store keeps it."""
        return await self.store.get(key)

    async def commit(
        self,
        key: str,
        expected: int,
        obj: Obj,
        *,
        heavy: bool = False,
        by_leader: bool = False,
        guards: Sequence[Guard] = (),
    ) -> Stored:
        """``heavy``: a thread encodes it. ``by_leader``: it is what the request asked for, and only a leader may have
        asked (``fencing``). Raises RevisionConflict, StoreUnavailable, RequestEntityTooLarge, Conflict, GuardFailed."""
        value = await paced(heavy, self.encode, obj)
        store, ttl = self.store, self.kind.ttl_seconds
        if by_leader:
            revision = await fencing.guarded(
                store,
                lambda guards: store.commit(key, expected, value, ttl_seconds=ttl, note=obj, guards=guards),
                guards,
            )
        else:
            revision = await store.commit(key, expected, value, ttl_seconds=ttl, note=obj, guards=guards)
        return Stored(self, key, value, revision, note=obj)

    async def remove(self, key: str, expected: int, *, by_leader: bool = False) -> int:
        """The revision of the deletion. Raises RevisionConflict, StoreUnavailable, Conflict."""
        if by_leader:
            return await fencing.guarded(
                self.store, lambda guards: self.store.commit(key, expected, None, guards=guards)
            )
        return await self.store.commit(key, expected, None)


class HasObject(Protocol):
    def object(self) -> Obj: ...


class Versioned(HasObject, Protocol):
    """An object at a revision: an entry of the cache, what was just written, or a piece of history.

    ``value`` is the stored form; None: a dry run, nothing was stored.
    """

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def revision(self) -> int: ...


class Stored:
    """``Versioned`` for one request. Decoded on first use and then kept; ``obj``: it already is; ``note``: what was
    committed, of which the decoded form is made. ``damaged``: nobody can read it; ``object`` raises EntryDamaged."""

    __slots__ = ("_note", "_obj", "_storage", "damaged", "key", "revision", "value")

    def __init__(
        self,
        storage: ResourceStorage,
        key: str,
        value: bytes | None,
        revision: int,
        obj: Obj | None = None,
        *,
        note: Obj | None = None,
        damaged: bool = False,
    ) -> None:
        self.key, self.value, self.revision, self.damaged = key, value, revision, damaged
        self._storage, self._obj, self._note = storage, obj, note

    def object(self) -> Obj:
        if self._obj is None:
            if self._note is not None:
                self._obj = self._storage.with_revision(self._note, self.revision)
            elif self.value is not None:
                self._obj = self._storage.decode(self.value, self.revision)
            else:
                raise EntryDamaged(self.key, self.revision)
        return self._obj


class Converter(Protocol):
    """Conversion that has to ask somebody (a webhook), many objects at a time."""

    async def convert(self, found: Sequence[Obj], to: Kind) -> list[Obj]:
        """The objects in this version, in order, from whatever version each says it is of. May change those given.
        Raises ApiError."""
        ...


class View:
    """One served version of a stored resource: how entries become its bytes and its dicts.

    ``spliced``: objects look as they are stored but for the names in front, so that bytes are served as they are.
    """

    def __init__(self, kind: Kind, storage: ResourceStorage, converter: Converter | None = None) -> None:
        self.kind, self.storage, self.converter = kind, storage, converter
        #: the version in which a write is admitted, prepared and validated: the stored one, as upstream's internal
        #: one, and of custom resources the one that the client speaks
        self.working_kind = kind if kind.custom else storage.kind
        #: objects are decoded as they are served
        self.as_stored = kind is storage.kind and not storage.keeps_versions
        self.spliced = self.as_stored or (kind.from_stored is None and converter is None)
        self._versioned_head = object_head(kind) + b'"resourceVersion":"'
        names = (kind.list_kind.encode(), kind.api_version.encode())
        self.list_head = b'{"kind":"%s","apiVersion":"%s","metadata":' % names

    @property
    def node(self) -> Node:
        return self.kind.node

    def served(self, value: bytes, revision: int) -> bytes:
        """The JSON of an object from its stored form. Only of a spliced view."""
        return b'%s%d",%s' % (self._versioned_head, revision, value[self.storage.head_length :])

    async def readable(self, item: HasObject) -> Obj:
        """The object in this version, to be read only: it may be the cache's own."""
        if self.as_stored:
            return item.object()
        return (await self.from_stored([item.object()]))[0]

    async def readables(self, items: Sequence[HasObject]) -> list[Obj]:
        found = [item.object() for item in items]
        return found if self.as_stored else await self.from_stored(found)

    async def working(self, item: HasObject, *, heavy: bool = False) -> Obj:
        """The object in the working version, to be read only."""
        obj = await aside(item.object) if heavy else item.object()
        return obj if self.as_stored or not self.kind.custom else (await self.from_stored([obj]))[0]

    async def writable(self, item: HasObject, *, heavy: bool = False) -> Obj:
        """The object in this version, the caller's own. ``heavy``: a thread makes it, here and below."""
        copied: Obj = await paced(heavy, _copied, item)
        return copied if self.as_stored else (await self.from_stored([copied]))[0]

    async def from_stored(self, found: Sequence[Obj]) -> list[Obj]:
        """This version of decoded objects of the stored kind, which are not changed."""
        if self.converter is not None:
            return await self.converter.convert([objects.copy_of(obj) for obj in found], self.kind)
        return [self.from_stored_now(obj) for obj in found]

    def from_stored_now(self, obj: Obj) -> Obj:
        """The same of one object, where no converter has to be asked. Shares what is below with the argument."""
        if self.kind.from_stored is not None:
            obj = self.kind.from_stored(objects.copy_of(obj))
        elif self.kind is self.storage.kind:
            return obj
        return {**obj, "kind": self.kind.kind, "apiVersion": self.kind.api_version}

    async def to_stored(self, obj: Obj, *, heavy: bool = False) -> Obj:
        """The stored version, with its defaults, of an object of this one, which may be changed."""
        if self.kind is self.storage.kind:
            return obj
        if self.converter is not None:
            obj = (await self.converter.convert([obj], self.storage.kind))[0]
        elif self.kind.to_stored is not None:
            obj = await paced(heavy, self.kind.to_stored, obj)
        obj["kind"], obj["apiVersion"] = self.storage.kind.kind, self.storage.kind.api_version
        if not self.kind.custom:
            await paced(heavy, self.storage.kind.default, obj)
        return obj

    async def to_working(self, obj: Obj, *, heavy: bool = False) -> Obj:
        """The working version of an object of this one, which may be changed."""
        return obj if self.kind.custom else await self.to_stored(obj, heavy=heavy)

    async def to_keep(self, obj: Obj, *, heavy: bool = False) -> Obj:
        """The stored version of an object of the working one, which may be changed."""
        return await self.to_stored(obj, heavy=heavy) if self.kind.custom else obj


def _copied(item: HasObject) -> Obj:
    return objects.copy_of(item.object())
