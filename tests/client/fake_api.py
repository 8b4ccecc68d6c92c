"""A small API server in memory, as a ``Transport``: atomic writes, one revision counter, conflicts, finalizers, watch.

Loaded by the conftests of client, controllers and network. It has no defaults, admission or validation: tests supply
whole objects. In all else it passes ``test_transport_contract``, as the real server does. ``in_process`` chooses
whether ``cache_view`` exists. ``fail_next`` injects errors; ``log`` keeps the writes.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sampan.api import errors, fields, labels
from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.resources import Resource
from sampan.api.transport import Call, Part, WatchEvent


def parse(path: str) -> tuple[str, str, str, str, str]:
    """(group/version plural address, namespace, name, subresource, plural)."""
    parts = path.strip("/").split("/")
    head, parts = (parts[:2], parts[2:]) if parts[0] == "api" else (parts[:3], parts[3:])
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    sub = "/".join(parts[2:])
    return "/".join(head), namespace, name, sub, parts[0]


class View:
    def __init__(self, api: "FakeApi", address: tuple[str, str]) -> None:
        self.api = api
        self.address = address

    def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.api.tables.get(self.address, {}).get((namespace, name))

    def objects(self, part: Part | None = None) -> list[dict[str, Any]]:
        table = self.api.tables.get(self.address, {})
        return [table[key] for key in sorted(table) if part is None or self.is_in(part, table[key])]

    def is_in(self, part: Part, obj: dict[str, Any] | None) -> bool:
        if obj is None:
            return False
        meta = obj["metadata"]
        kind = self.api._kind(self.address)
        values = kind.selectable_fields(obj) if kind is not None else {}
        return (
            (not part.namespace or meta.get("namespace", "") == part.namespace)
            and (not part.name or meta["name"] == part.name)
            and (not part.field or values.get(part.field, "") == part.value)
        )

    def revision(self) -> int:
        return self.api.revision

    def subscribe(self, callback: Callable[..., None], part: Part | None = None) -> Callable[[], None]:
        def listener(kind: str, obj: dict[str, Any], previous: dict[str, Any] | None, revision: int) -> None:
            if part is None or self.is_in(part, obj) or self.is_in(part, previous):
                callback(kind, obj, previous, revision)

        listeners = self.api.listeners.setdefault(self.address, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def keep(self) -> Callable[[], None]:
        return lambda: None


class FakeApi:
    def __init__(self, *, in_process: bool = True, now: str = "2026-01-01T00:00:00Z") -> None:
        self.in_process = in_process
        self.now = now
        self.revision = 0
        self.uids = 0
        self.tables: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
        self.listeners: dict[tuple[str, str], list[Callable[..., None]]] = {}
        self.history: list[tuple[tuple[str, str], str, dict[str, Any], dict[str, Any] | None]] = []
        self.pages: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self.compacted = 0
        self.log: list[tuple[str, str, str]] = []
        self.fail_next: list[tuple[str, str, Exception]] = []
        self.on_write: Callable[[str, str, str], None] | None = None
        self.streams: list[asyncio.Queue[WatchEvent | None]] = []
        #: Open watches hear nothing while set, as when the network is cut.
        self.deaf = False
        #: items of aggregated discovery: what is served besides built-in kinds
        self.discovery: list[dict[str, Any]] = []

    # Transport

    async def call(self, call: Call) -> Any:
        # Real transports always yield to the loop at least once.
        await asyncio.sleep(0)
        if call.path == "/apis":
            return {"kind": "APIGroupDiscoveryList", "items": copy.deepcopy(self.discovery)}
        api_version, namespace, name, sub, plural = parse(call.path)
        for index, (method, wanted, error) in enumerate(self.fail_next):
            if method == call.method and wanted == plural:
                del self.fail_next[index]
                raise error
        address = (api_version, plural)
        if call.method == "GET":
            if name:
                return copy.deepcopy(self._get(address, namespace, name))
            return self._list(address, call.query, self._selection(address, namespace, call.query))
        self.log.append((call.method, f"{plural}/{sub}" if sub else plural, name or self._body_name(call)))
        if self.on_write:
            self.on_write(*self.log[-1])
        if call.method == "POST":
            return self._create(address, namespace, name, sub, copy.deepcopy(call.body))
        if call.method == "PUT":
            return self._update(address, namespace, name, sub, copy.deepcopy(call.body))
        if call.method == "PATCH":
            return self._patch(address, namespace, name, sub, call)
        if call.method == "DELETE" and not name:
            selected = self._selection(address, namespace, call.query)
            for space, each in [key for key, obj in self.table(address).items() if selected(obj)]:
                self._delete(address, space, each, call.body or {})
            return {"kind": "Status", "status": "Success"}
        if call.method == "DELETE":
            return self._delete(address, namespace, name, call.body or {})
        raise AssertionError(call)

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        await asyncio.sleep(0)
        api_version, namespace, _, _, plural = parse(call.path)
        address = (api_version, plural)
        selected = self._selection(address, namespace, call.query)
        for index, (method, wanted, error) in enumerate(self.fail_next):
            if method == "WATCH" and wanted == plural:
                del self.fail_next[index]
                raise error
        queue: asyncio.Queue[WatchEvent | None] = asyncio.Queue()

        def tell(kind: str, obj: dict[str, Any], previous: dict[str, Any] | None) -> None:
            """As the selection sees it: what comes into it is added, what leaves it is deleted."""
            was, is_now = previous is not None and selected(previous), kind != "DELETED" and selected(obj)
            if was or is_now:
                seen = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
                queue.put_nowait(WatchEvent(seen, copy.deepcopy(obj)))

        def changed(kind: str, obj: dict[str, Any], previous: Any, revision: int) -> None:
            if not self.deaf:
                tell(kind, obj, previous)

        after = int(call.query.get("resourceVersion") or 0)
        if not after:
            for _, obj in sorted(self.table(address).items()):
                if selected(obj):
                    queue.put_nowait(WatchEvent("ADDED", copy.deepcopy(obj)))
        elif after < self.compacted:
            queue.put_nowait(WatchEvent("ERROR", errors.Expired("too old resource version").status()))
            queue.put_nowait(None)
        else:
            for at, kind, obj, previous in self.history:
                if at == address and int(obj["metadata"]["resourceVersion"]) > after:
                    tell(kind, obj, previous)

        listeners = self.listeners.setdefault(address, [])
        listeners.append(changed)
        self.streams.append(queue)
        try:
            yield self._drain(queue)
        finally:
            self.listeners[address].remove(changed)
            self.streams.remove(queue)

    @staticmethod
    async def _drain(queue: "asyncio.Queue[WatchEvent | None]") -> AsyncIterator[WatchEvent]:
        while (event := await queue.get()) is not None:
            yield event

    def cache_view(self, resource: Resource) -> View | None:
        return View(self, self.address(resource)) if self.in_process else None

    async def close(self) -> None:
        pass

    # Test's side

    @staticmethod
    def address(resource: Resource) -> tuple[str, str]:
        prefix = f"apis/{resource.group}" if resource.group else "api"
        return f"{prefix}/{resource.version}", resource.plural

    def table(self, address: tuple[str, str]) -> dict[tuple[str, str], dict[str, Any]]:
        return self.tables.setdefault(address, {})

    def all(self, resource: Resource) -> list[dict[str, Any]]:
        return [obj for _, obj in sorted(self.table(self.address(resource)).items())]

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        return self.table(self.address(resource)).get((namespace, name))

    def add(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """Puts an object there as another client would."""
        obj = copy.deepcopy(obj)
        obj.setdefault("kind", resource.kind)
        obj.setdefault("apiVersion", resource.api_version)
        return self._create(self.address(resource), obj["metadata"].get("namespace", ""), "", "", obj)

    def change(self, resource: Resource, namespace: str, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
        address = self.address(resource)
        old = self._get(address, namespace, name)
        new = copy.deepcopy(old)
        edit(new)
        self._store(address, (namespace, name), new, old)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        address = self.address(resource)
        self._drop(address, (namespace, name), self._get(address, namespace, name))

    def cut_watches(self) -> None:
        for queue in list(self.streams):
            queue.put_nowait(None)

    # Inside

    @staticmethod
    def _body_name(call: Call) -> str:
        meta = (call.body or {}).get("metadata", {})
        return str(meta.get("name") or meta.get("generateName", ""))

    @staticmethod
    def _kind(address: tuple[str, str]) -> Kind | None:
        *_, group, version = ["", *address[0].split("/")]
        return registry().by_resource("" if group == "api" else group, version, address[1])

    def _selection(
        self, address: tuple[str, str], namespace: str, query: Mapping[str, str]
    ) -> Callable[[dict[str, Any]], bool]:
        by_labels = labels.parse(query.get("labelSelector", ""))
        by_fields = fields.parse(query.get("fieldSelector", ""))
        kind = self._kind(address)

        def selected(obj: dict[str, Any]) -> bool:
            meta = obj["metadata"]
            if namespace and meta.get("namespace") != namespace:
                return False
            own = kind.selectable_fields(obj) if kind is not None and not by_fields.everything else {}
            return by_labels.matches(meta.get("labels")) and by_fields.matches(fields.object_fields(obj, own))

        return selected

    def _list(
        self, address: tuple[str, str], query: Mapping[str, str], selected: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """A page's token names what is left of the list as it was when its first page was asked for."""
        token = query.get("continue")
        if token:
            revision, items = self.pages[token]
        else:
            revision, items = self.revision, [obj for _, obj in sorted(self.table(address).items()) if selected(obj)]
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        limit = int(query.get("limit") or 0) or len(items)
        if items[limit:]:
            meta["continue"] = f"page-{len(self.pages)}"
            self.pages[meta["continue"]] = revision, items[limit:]
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                meta["remainingItemCount"] = len(items) - limit
        kind = self._kind(address)
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version} if kind is not None else {}
        return {**head, "metadata": meta, "items": copy.deepcopy(items[:limit])}

    def _get(self, address: tuple[str, str], namespace: str, name: str) -> dict[str, Any]:
        obj = self.table(address).get((namespace, name))
        if obj is None:
            raise errors.not_found(address[1], name)
        return obj

    def _tell(self, address: tuple[str, str], kind: str, obj: dict[str, Any], previous: Any) -> None:
        self.history.append((address, kind, obj, previous))
        for listener in list(self.listeners.get(address, ())):
            listener(kind, obj, previous, self.revision)

    def _store(self, address: tuple[str, str], key: tuple[str, str], new: dict[str, Any], old: Any) -> dict[str, Any]:
        if old is not None and {**new, "metadata": {**new["metadata"], "resourceVersion": ""}} == {
            **old,
            "metadata": {**old["metadata"], "resourceVersion": ""},
        }:
            return copy.deepcopy(old)
        if old is not None and "generation" in old["metadata"] and new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        meta = new["metadata"]
        held = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds")
        if meta.get("deletionTimestamp") and not held:
            return self._drop(address, key, new)
        self.table(address)[key] = new
        self._tell(address, "MODIFIED" if old is not None else "ADDED", new, old)
        return copy.deepcopy(new)

    def _drop(self, address: tuple[str, str], key: tuple[str, str], obj: dict[str, Any]) -> dict[str, Any]:
        self.revision += 1
        old = self.table(address).pop(key)
        last = copy.deepcopy(obj)
        last["metadata"]["resourceVersion"] = str(self.revision)
        self._tell(address, "DELETED", last, old)
        return {
            "kind": "Status",
            "status": "Success",
            "details": {"name": key[1], "kind": address[1], "uid": old["metadata"]["uid"]},
        }

    def _create(
        self, address: tuple[str, str], namespace: str, name: str, sub: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        meta = body["metadata"]
        if not meta.get("name"):
            meta["name"] = f"{meta.get('generateName', 'x-')}{self.uids:05d}"
        if namespace:
            meta["namespace"] = namespace
        key = (namespace, meta["name"])
        if key in self.table(address):
            raise errors.already_exists(address[1], meta["name"])
        self.uids += 1
        kind = self._kind(address)
        if kind is not None:
            body.setdefault("kind", kind.kind)
            body.setdefault("apiVersion", kind.api_version)
        meta.setdefault("uid", f"uid-{self.uids}")
        meta.setdefault("creationTimestamp", self.now)
        if address[1] in ("replicasets", "deployments", "replicationcontrollers"):
            meta.setdefault("generation", 1)
        return self._store(address, key, body, None)

    def _update(
        self, address: tuple[str, str], namespace: str, name: str, sub: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        old = self._get(address, namespace, name)
        version = body["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise errors.conflict(address[1], name)
        if sub == "status":
            new = copy.deepcopy(old)
            new["status"] = body.get("status", {})
        else:
            new = body
            if "status" in old:
                new["status"] = copy.deepcopy(old["status"])
            for field in ("uid", "creationTimestamp", "deletionTimestamp", "generation"):
                if field in old["metadata"]:
                    new["metadata"][field] = old["metadata"][field]
        return self._store(address, (namespace, name), new, old)

    def _patch(self, address: tuple[str, str], namespace: str, name: str, sub: str, call: Call) -> dict[str, Any]:
        assert "json-patch" not in call.content_type, "the fake knows merge patches only"
        old = self._get(address, namespace, name)
        new = copy.deepcopy(old)
        _merge(new, call.body)
        wanted = call.body.get("metadata", {})
        if wanted.get("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
            raise errors.conflict(address[1], name)
        if wanted.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise errors.invalid_object(address[1], name, [errors.invalid("metadata.uid", wanted["uid"], "immutable")])
        return self._store(address, (namespace, name), new, old)

    def _delete(self, address: tuple[str, str], namespace: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
        old = self._get(address, namespace, name)
        wanted = options.get("preconditions", {})
        for field in ("uid", "resourceVersion"):
            if wanted.get(field) and wanted[field] != old["metadata"][field]:
                raise errors.conflict(address[1], name)
        new = copy.deepcopy(old)
        meta = new["metadata"]
        finalizers = meta.setdefault("finalizers", [])
        policy = options.get("propagationPolicy")
        for chosen, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
            if policy == chosen and finalizer not in finalizers:
                finalizers.append(finalizer)
        scheduled = address[1] == "pods" and (old.get("spec") or {}).get("nodeName")
        grace = options.get("gracePeriodSeconds", 30) if scheduled else 0
        if finalizers or grace:
            meta.setdefault("deletionTimestamp", self.now)
            meta["deletionGracePeriodSeconds"] = grace
            return self._store(address, (namespace, name), new, old)
        return self._drop(address, (namespace, name), old)


_TAKE_FROM = "$deleteFromPrimitiveList/"


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """A merge patch, and of strategic ones what controllers use: values to take from a list."""
    for key, value in patch.items():
        if key.startswith(_TAKE_FROM):
            listed = key.removeprefix(_TAKE_FROM)
            target[listed] = [each for each in target.get(listed) or () if each not in value]
        elif value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(key), dict):
                target[key] = {}
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
