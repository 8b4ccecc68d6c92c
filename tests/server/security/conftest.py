"""A reader over a dict that tells subscribers, and short-hands for objects and users."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.api.registry import registry
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ChangeCallback
from sampan.server.request import Request, UserInfo


class DictReader:
    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Obj] = {}
        self._callbacks: dict[str, list[ChangeCallback]] = {}
        self._revisions: dict[tuple[str, str, str], int] = {}
        self._last = 0

    def put(self, resource: Resource, obj: Obj) -> Obj:
        meta = obj["metadata"]
        key = (resource.plural, meta.get("namespace", ""), meta["name"])
        self._objects[key] = obj
        self._last += 1
        self._revisions[key] = self._last
        for callback in tuple(self._callbacks.get(resource.plural, ())):
            callback("ADDED", obj, None, 1)
        return obj

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        obj = self._objects.pop((resource.plural, namespace, name))
        del self._revisions[resource.plural, namespace, name]
        for callback in self._callbacks.get(resource.plural, ()):
            callback("DELETED", obj, obj, 1)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        return self._objects.get((resource.plural, namespace or "", name))

    def revision(self, resource: Resource, namespace: str | None, name: str) -> int:
        return self._revisions.get((resource.plural, namespace or "", name), 0)

    async def fresh(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        return self.get(resource, namespace, name)

    def list(self, resource: Resource, namespace: str | None = None) -> Iterable[Obj]:
        keys = [k for k in self._objects if k[0] == resource.plural and namespace in (None, k[1])]
        return [self._objects[key] for key in keys]

    def stored(self, resource: Resource, namespace: str, limit: int) -> tuple[list[bytes], int]:
        found = [orjson.dumps(obj) for obj in self.list(resource, namespace)]
        return found[:limit], len(found)

    def subscribers(self, resource: Resource) -> int:
        return len(self._callbacks.get(resource.plural, ()))

    def subscribe(self, resource: Resource, callback: ChangeCallback, *, keep: bool = True) -> Callable[[], None]:
        listed = self._callbacks.setdefault(resource.plural, [])
        listed.append(callback)
        return lambda: listed.remove(callback)


@pytest.fixture
def reader() -> DictReader:
    return DictReader()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def seeded() -> random.Random:
    return random.Random(7)


@pytest.fixture
def write() -> Callable[..., AdmissionAttributes]:
    """``write("pods", obj, user=...)``: the admission attributes of a write."""

    def make(
        plural: str,
        obj: Obj | None,
        *,
        group: str = "",
        version: str = "v1",
        operation: Any = "CREATE",
        old: Obj | None = None,
        user: UserInfo | None = None,
        subresource: str = "",
        name: str = "",
        namespace: str | None = None,
    ) -> AdmissionAttributes:
        kind = registry().by_resource(group, version, plural)
        assert kind is not None
        meta = (obj or old or {}).get("metadata", {})
        who = user or UserInfo("alice", ("system:authenticated",))
        return AdmissionAttributes(
            operation,
            kind,
            subresource,
            meta.get("namespace", "") if namespace is None else namespace,
            name or meta.get("name", ""),
            obj,
            old,
            who,
            False,
            Request("POST", "/", {}, {}, user=who),
        )

    return make
