"""Informers: the present objects of a resource, kept up to date, with handlers and indexes.

Used by every component that reacts to objects. In one process with the server an informer is a view on the server's
watch cache (no copy of objects, no store of its own); across processes it lists, then watches, and keeps a store.
One event loop; handlers are called synchronously in revision order and must not block. Objects are shared: read-only.
It writes nothing and filters only by the selectors it was made with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

from sampan.api.clock import Random, SystemRandom
from sampan.api.errors import NotFound
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, EventType, Part
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.keys import ObjectKey, key_of, revision_of
from sampan.client.reflector import Reflector
from sampan.client.selection import Predicate, build_predicate, plan_part
from sampan.client.signal import Signal
from sampan.keeping import Keeper, at_end

log = logging.getLogger(__name__)

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
#: ``handler(type, object, previous)``; ``previous`` is None for ADDED, the last known state for DELETED.
Handler = Callable[[ChangeType, Obj, Obj | None], None]
IndexFunction = Callable[[Obj], Iterable[str]]

_NAMESPACE_INDEX = "namespace"


class _Bucket(dict[ObjectKey, "Obj | None"]):
    """The keys of one value, and with ``holds`` the objects. ``version`` is another one after each change."""

    __slots__ = ("version",)
    version: int


class _Index:
    """Keys by value. Invariant: ``_values[key]`` are exactly the buckets that hold ``key``."""

    def __init__(self, function: IndexFunction, holds: bool) -> None:
        self._function = function
        self.holds = holds
        self._buckets: dict[str, _Bucket] = {}
        self._values: dict[ObjectKey, tuple[str, ...]] = {}
        self._changes = 0

    def put(self, key: ObjectKey, obj: Obj) -> None:
        """What the function raises is raised, and then the key is in no bucket."""
        try:
            values = tuple(self._function(obj))
        except Exception:  # whatever it was, an index must not show an object by half of its values
            self.drop(key)
            raise
        if self._values.get(key, ()) != values:
            self.drop(key)
            if values:
                self._values[key] = values
        held = obj if self.holds else None
        self._changes += 1
        for value in values:
            bucket = self._buckets.get(value)
            if bucket is None:
                bucket = self._buckets[value] = _Bucket()
            bucket[key] = held
            bucket.version = self._changes

    def drop(self, key: ObjectKey) -> None:
        self._changes += 1
        for value in self._values.pop(key, ()):
            bucket = self._buckets.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                bucket.version = self._changes
                if not bucket:
                    del self._buckets[value]

    def clear(self) -> None:
        self._buckets.clear()
        self._values.clear()

    def keys(self, value: str) -> Collection[ObjectKey]:
        return self._buckets.get(value, ())

    def held(self, value: str) -> Sequence[Obj]:
        return [obj for obj in self._buckets.get(value, {}).values() if obj is not None]

    def version(self, value: str) -> int:
        bucket = self._buckets.get(value)
        return bucket.version if bucket is not None else 0


class Informer:
    """Invariant: when a handler runs, ``get``, ``list`` and the indexes already show the change it is told of."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        field_selector: str = "",
        label_selector: str = "",
        random: Random | None = None,
    ) -> None:
        self.resource = resource
        self._client = client
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._random: Random = random or SystemRandom()
        self._part: Part | None = plan_part(field_selector)
        self._view: CacheView | None = client.cache_view(resource)
        # Where there is no cache the server applies the selectors, and whoever is far from it needs no kinds.
        predicate = build_predicate(resource, label_selector, field_selector) if self._view is not None else None
        self._matches: Predicate | None = None if predicate is None else self._guarded(predicate)
        #: what ends following the view, once it is followed
        self._unsubscribe: Callable[[], None] | None = None
        #: with a selector, or without a view: the objects, which are the server's own in the former case
        self._objects: dict[ObjectKey, Obj] = {}
        self._revision = 0
        self._handlers: list[Handler] = []
        self._indexes: dict[str, _Index] = {}
        self._running = self._retired = False
        self._synced = Signal()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def name(self) -> str:
        """For logs and metrics: resource (``deployments.v1.apps``) and selectors."""
        resource = ".".join(filter(None, (self.resource.plural, self.resource.version, self.resource.group)))
        return " ".join(filter(None, ("informer", resource, self._field_selector, self._label_selector)))

    # Reading

    def get(self, namespace: str, name: str) -> Obj | None:
        """``namespace`` is "" for cluster-scoped resources."""
        if self._view is None or (self._matches is not None and self.has_synced):
            return self._objects.get(ObjectKey(namespace, name))
        obj = self._view.get(namespace, name)
        return obj if obj is not None and (self._matches is None or self._matches(obj)) else None

    def list(self, namespace: str | None = None) -> Sequence[Obj]:
        """All objects, or those of one namespace, in no promised order."""
        if namespace is None:
            return list(self._present())
        if _NAMESPACE_INDEX not in self._indexes:
            self.add_index(_NAMESPACE_INDEX, lambda obj: (obj["metadata"].get("namespace", ""),))
        return self.by_index(_NAMESPACE_INDEX, namespace)

    def keys(self, namespace: str) -> Sequence[ObjectKey]:
        """Of the objects of a namespace, without looking at them."""
        self.add_index(_NAMESPACE_INDEX, lambda obj: (obj["metadata"].get("namespace", ""),))
        return list(self._indexes[_NAMESPACE_INDEX].keys(namespace))

    def by_index(self, index: str, value: str) -> Sequence[Obj]:
        if (known := self._indexes[index]).holds:
            return known.held(value)
        found = (self.get(*key) for key in self._indexes[index].keys(value))
        return [obj for obj in found if obj is not None]

    def version(self, index: str, value: str) -> int:
        """As long as it is the same, ``by_index`` gives the same objects as they were."""
        return self._indexes[index].version(value)

    def count(self, index: str, value: str) -> int:
        """How many ``by_index`` gives, without looking at them."""
        return len(self._indexes[index].keys(value))

    @property
    def revision(self) -> int:
        """Every change up to this revision has been handled."""
        return self._view.revision() if self._view is not None and self.has_synced else self._revision

    @property
    def has_synced(self) -> bool:
        """The objects that were present when the informer started have been handled."""
        return self._synced.is_set()

    async def synced(self) -> None:
        await self._synced.wait()

    async def wait_for(self, revision: int) -> None:
        """Returns once every change up to ``revision`` has been handled."""
        if self._view is not None and self.has_synced and self.revision < revision:
            # Perhaps it was a change of another resource, after which nothing happens here.
            await self._view.catch_up()
        await self.wait_until(lambda: self.revision >= revision)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns once ``condition()``, looked at after each change, holds. Raises NotFound: it was retired."""
        if self.has_synced and condition():
            return
        if self._retired:
            raise self._gone()
        # Somebody else's change may be what makes the condition true: the view's revision moves with it.
        stop = None if self._view is None else self._view.subscribe(lambda *change: self._wake())
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (condition, waiter)
        self._waiters.append(entry)
        try:
            await waiter
        finally:
            if stop is not None:
                stop()
            if entry in self._waiters:
                self._waiters.remove(entry)

    # Subscribing

    def add_index(self, name: str, function: IndexFunction, *, holds: bool = False) -> None:
        """Adding the same name again replaces nothing: the first function stays. ``holds``: with the objects in it, so
        that ``by_index`` looks up none of them; for kinds whose objects the server keeps decoded anyway."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function, holds)
        self._follow()
        # In view mode the cache may hold objects before ``run``: those are indexed when they are replayed.
        if self.has_synced or self._view is None:
            for obj in self._present():
                self._index(index, key_of(obj), obj)

    def add_handler(self, handler: Handler) -> Callable[[], None]:
        """Objects already present are replayed as ADDED. Returns the function that removes the handler; the end of the
        kept component that added it does so too."""
        self._handlers.append(handler)
        self._follow()
        if self.has_synced:
            for obj in list(self._present()):
                self._call(handler, "ADDED", obj, None)

        def remove() -> None:
            if handler in self._handlers:
                self._handlers.remove(handler)

        at_end(remove)
        return remove

    # Running

    async def run(self) -> None:
        """Keeps the informer up to date until cancelled. When it fails it can be run again: who waits, waits on."""
        try:
            if self._view is not None:
                await self._run_view(self._view)
            else:
                await Reflector(
                    self._client,
                    self.resource,
                    self,
                    self._random,
                    label_selector=self._label_selector,
                    field_selector=self._field_selector,
                ).run()
        except asyncio.CancelledError:
            for _, waiter in self._waiters:
                waiter.cancel()
            raise

    async def _run_view(self, view: CacheView) -> None:
        release = view.keep()
        # Subscribing and replaying happen without an await between: no change is missed or seen twice.
        self._running = True
        self._follow()
        try:
            if self._matches is None:
                for index in self._indexes.values():
                    index.clear()  # of an earlier run: what has gone since then is told by nobody
                for obj in view.objects():
                    self._emit("ADDED", obj, None)
                self.mark_synced(view.revision())
            else:
                # When it is run again, what has changed meanwhile is told.
                self.replace(filter(self._matches, view.objects(self._part)), view.revision())
            await tasks.forever()
        finally:
            self._running = False
            if self._unsubscribe is not None:
                self._unsubscribe()
                self._unsubscribe = None
            release()

    def _follow(self) -> None:
        """Subscribes to the view as soon as somebody wants to hear of changes: who only reads it costs none of them."""
        wanted = self._handlers or self._indexes or self._matches is not None
        if self._running and self._view is not None and self._unsubscribe is None and wanted:
            self._unsubscribe = self._view.subscribe(self._view_changed, self._part)

    def _view_changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        matches = self._matches
        if matches is None:
            if kind != "BOOKMARK" and kind != "ERROR":
                self._emit(kind, obj, None if kind == "ADDED" else previous)
        else:
            key = key_of(obj)
            before = self._objects.get(key)
            if kind != "DELETED" and matches(obj):
                self._objects[key] = obj
                self._emit("ADDED" if before is None else "MODIFIED", obj, before)
            elif before is not None:
                del self._objects[key]
                self._emit("DELETED", obj, before)
        self.advance(revision)

    # The reflector's side (``sampan.client.reflector.Sink``)

    def replace(self, objects: Iterable[Obj], revision: int) -> None:
        """A fresh list: told to handlers as the difference from what they know."""
        listed = {key_of(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in listed]:
            gone = self._objects.pop(key)
            self._emit("DELETED", gone, gone)
        for obj in listed.values():
            self.put(obj)
        self._revision = max(self._revision, revision)
        self.mark_synced(revision)

    def put(self, obj: Obj) -> None:
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            # The deletion between was missed: handlers must not take the new object for the old one.
            del self._objects[key]
            self._emit("DELETED", old, old)
            old = None
        if old is None:
            self._objects[key] = obj
            self._emit("ADDED", obj, None)
        elif old["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
            self._objects[key] = obj
            self._emit("MODIFIED", obj, old)
        self.advance(revision_of(obj))

    def remove(self, obj: Obj) -> None:
        old = self._objects.pop(key_of(obj), None)
        if old is not None:
            self._emit("DELETED", obj, old)
        self.advance(revision_of(obj))

    def advance(self, revision: int) -> None:
        self._revision = max(self._revision, revision)
        self._wake()

    def mark_synced(self, revision: int) -> None:
        self._synced.set()
        self.advance(revision)

    def retire(self) -> None:
        """For the factory: nothing will change any more. Who waits for it is told."""
        self._retired = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._gone())
        self._waiters = []

    # Inside

    def _gone(self) -> NotFound:
        return NotFound(f"{self.resource.plural} are served no longer")

    def _present(self) -> Iterable[Obj]:
        if self._view is None or (self._matches is not None and self.has_synced):
            return self._objects.values()
        present = self._view.objects(self._part)
        return present if self._matches is None else filter(self._matches, present)

    def _emit(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if self._indexes:
            key = key_of(obj)
            for index in self._indexes.values():
                if kind == "DELETED":
                    index.drop(key)
                else:
                    self._index(index, key, obj)
        for handler in list(self._handlers):
            self._call(handler, kind, obj, previous)

    def _guarded(self, predicate: Predicate) -> Predicate:
        def matches(obj: Obj) -> bool:
            try:
                return predicate(obj)
            except Exception:  # a bug in one component's selector costs it this object, and nobody else anything
                log.exception("the selectors of %s failed on %s", self.name, key_of(obj))
                return False

        return matches

    def _index(self, index: _Index, key: ObjectKey, obj: Obj) -> None:
        try:
            index.put(key, obj)
        except Exception:
            # Whoever looks by this index does not find the object; everybody else goes on.
            log.exception("an index of %s failed on %s", self.resource.plural, key)

    def _call(self, handler: Handler, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        try:
            handler(kind, obj, previous)
        except Exception:
            # One component's bug must not keep changes from the others, nor stop the server's own cache.
            log.exception("handler of %s failed on %s %s", self.resource.plural, kind, key_of(obj))

    def _wake(self) -> None:
        if not self._waiters or not self.has_synced:
            return
        for entry in list(self._waiters):
            condition, waiter = entry
            if waiter.done():
                continue
            try:
                if not condition():
                    continue
                waiter.set_result(None)
            except Exception as error:  # it is the waiter's own
                waiter.set_exception(error)
            self._waiters.remove(entry)


class InformerFactory:
    """One informer a resource and selector, shared by the controllers of a process."""

    def __init__(self, client: Client, *, random: Random | None = None) -> None:
        self.client = client
        self._random = random
        self._informers: dict[tuple[Resource, str, str], Informer] = {}
        self._keeper: Keeper | None = None

    def informer(self, resource: Resource, *, field_selector: str = "", label_selector: str = "") -> Informer:
        """Memoised. One that is asked for while the factory runs is started at once."""
        key = (resource, field_selector, label_selector)
        informer = self._informers.get(key)
        if informer is None:
            informer = self._informers[key] = Informer(
                self.client,
                resource,
                field_selector=field_selector,
                label_selector=label_selector,
                random=self._random,
            )
            if self._keeper is not None:
                self._start(self._keeper, informer)
        return informer

    def retire(self, informer: Informer) -> None:
        """Ends an informer whose resource is served no longer; who asks for it later gets a new one."""
        for key, present in list(self._informers.items()):
            if present is informer:
                del self._informers[key]
                informer.retire()
                if self._keeper is not None:
                    self._keeper.end(informer.name)

    async def synced(self) -> None:
        """Every informer asked for so far has seen the objects that were present."""
        for informer in list(self._informers.values()):
            await informer.synced()

    async def run(self) -> None:
        """Runs all informers until cancelled. One that fails is started again, alone."""
        async with Keeper() as keeper:
            self._keeper = keeper
            try:
                for informer in list(self._informers.values()):
                    self._start(keeper, informer)
                await tasks.forever()
            finally:
                self._keeper = None

    @staticmethod
    def _start(keeper: Keeper, informer: Informer) -> None:
        keeper.keep(informer.name, informer.run)
