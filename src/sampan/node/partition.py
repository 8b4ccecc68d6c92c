"""A transport whose line can be cut: for a simulated node that its cluster cannot reach, and that runs on.

While it is cut, every request fails as on a network without a route, watches end, and what the server's cache tells is
held back. Once it is mended the caches tell what came of each object meanwhile, so that what is held is bounded by
their number. A ``Transport``; one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, ChangeCallback, EventType, Part, Transport, WatchEvent
from sampan.api.types import Obj
from sampan.client.signal import Signal
from sampan.records import dataclass


class Line:
    """Invariant: what is held is empty while the line is whole."""

    def __init__(self) -> None:
        self._cut = Signal()
        self._held: dict[_Subscriber, dict[tuple[str, str], _Held]] = {}

    @property
    def is_cut(self) -> bool:
        return self._cut.is_set()

    def cut(self) -> None:
        self._cut.set()

    def mend(self) -> None:
        self._cut.clear()
        held, self._held = self._held, {}
        for subscriber, changes in held.items():
            for change in sorted(changes.values(), key=lambda change: change.revision):
                if subscriber.there:
                    change.tell(subscriber.callback)

    def transport(self, inner: Transport) -> Transport:
        return _LineTransport(inner, self)

    def pass_on(self, subscriber: _Subscriber, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        if not self.is_cut:
            subscriber.callback(kind, obj, previous, revision)
            return
        meta = obj["metadata"]
        changes = self._held.setdefault(subscriber, {})
        key = (meta.get("namespace", ""), meta["name"])
        first = changes[key].before if key in changes else previous if kind != "ADDED" else None
        changes[key] = _Held(kind, obj, first, revision)

    async def until_cut(self) -> None:
        await self._cut.wait()

    def check(self) -> None:
        """Raises ServiceUnavailable while it is cut, as a client does whose connection fails."""
        if self.is_cut:
            raise ServiceUnavailable("the API server cannot be reached: no route to host")


@dataclass(eq=False, slots=True)
class _Subscriber:
    callback: ChangeCallback
    there: bool = True

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True, slots=True)
class _Held:
    """What became of an object: the last that is known of it, and what the subscriber knows (None: nothing)."""

    kind: EventType
    obj: Obj
    before: Obj | None
    revision: int

    def tell(self, callback: ChangeCallback) -> None:
        before = self.before
        if self.kind == "DELETED":
            if before is not None:
                callback("DELETED", self.obj, before, self.revision)
            return
        if before is not None and before["metadata"]["uid"] != self.obj["metadata"]["uid"]:
            callback("DELETED", before, before, self.revision)
            before = None
        callback("ADDED" if before is None else "MODIFIED", self.obj, before, self.revision)


class _LineTransport:
    def __init__(self, inner: Transport, line: Line) -> None:
        self._inner, self._line = inner, line

    async def call(self, call: Call) -> Any:
        self._line.check()
        return await self._inner.call(call)

    def watch(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._watch(call)

    @asynccontextmanager
    async def _watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        self._line.check()
        async with self._inner.watch(call) as events:
            yield self._until_cut(events)

    async def _until_cut(self, events: AsyncIterator[WatchEvent]) -> AsyncIterator[WatchEvent]:
        cut = asyncio.ensure_future(self._line.until_cut())
        try:
            while True:
                following = asyncio.ensure_future(anext(events))
                try:
                    await asyncio.wait((following, cut), return_when=asyncio.FIRST_COMPLETED)
                    if cut.done():
                        self._line.check()
                    yield following.result()
                except StopAsyncIteration:
                    return
                finally:
                    following.cancel()
        finally:
            cut.cancel()

    def cache_view(self, resource: Resource) -> CacheView | None:
        view = self._inner.cache_view(resource)
        return None if view is None else _LineView(view, self._line)

    async def close(self) -> None:
        await self._inner.close()


class _LineView:
    """A ``CacheView``. What is read by name is what the server has: whoever acts on it has to write, and cannot."""

    def __init__(self, inner: CacheView, line: Line) -> None:
        self._inner, self._line = inner, line

    def get(self, namespace: str, name: str) -> Obj | None:
        return self._inner.get(namespace, name)

    def objects(self, part: Part | None = None) -> Iterable[Obj]:
        return self._inner.objects(part)

    def revision(self) -> int:
        return self._inner.revision()

    async def catch_up(self) -> None:
        await self._inner.catch_up()

    def subscribe(self, callback: ChangeCallback, part: Part | None = None) -> Callable[[], None]:
        subscriber = _Subscriber(callback)

        def changed(kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
            self._line.pass_on(subscriber, kind, obj, previous, revision)

        stop = self._inner.subscribe(changed, part)

        def unsubscribe() -> None:
            subscriber.there = False
            stop()

        return unsubscribe

    def keep(self) -> Callable[[], None]:
        return self._inner.keep()
