"""The seam between clients and an API server: one narrow protocol, by HTTP or inside one process.

``sampan.client.http`` implements it over TLS to any Kubernetes; ``sampan.server.local`` implements it by calling the
server in the same process. Declarations only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import Any, Literal, Protocol

from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.records import dataclass

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


#: the request header that carries ``Call.leader``; a server that does not know it takes no notice
LEADER_HEADER = "Sampan-Leader"

#: ``callback(type, object, previous, revision)``. ``object`` of a DELETED event is the last state with the deletion's
#: resourceVersion. Called on the event loop, in revision order; must not block.
ChangeCallback = Callable[[EventType, Obj, Obj | None, int], None]


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``body`` is a JSON value (never encoded here) or None; ``content_type`` says which patch it is, and
    ``accept`` in which form discovery answers. ``leader``: it counts only while this one leads, ``namespace/lease
    identity``; "": whoever asks. ``shared``: the caller gives the body away and only reads the answer,
    so that a server in this process copies neither."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"
    leader: str = ""
    shared: bool = False


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: EventType
    object: Obj


@dataclass(frozen=True, slots=True)
class Part:
    """Which objects of a resource concern somebody, as far as it can be looked up. "" is any.

    A cluster-scoped object has no namespace; ``field`` is a selectable one (``spec.nodeName``)."""

    namespace: str = ""
    name: str = ""
    field: str = ""
    value: str = ""


class CacheView(Protocol):
    """The server's own watch cache of one resource, seen from a component in the same process.

    Objects are the server's own dicts: read-only. Callbacks run on the event loop, in revision order, and must
    not block.
    """

    def get(self, namespace: str, name: str) -> Obj | None:
        """``namespace`` is "" for cluster-scoped resources."""
        ...

    def objects(self, part: Part | None = None) -> Iterable[Obj]:
        """All present objects, or those of a part, in key order."""
        ...

    def revision(self) -> int:
        """Everything up to this store revision has been delivered to subscribers."""
        ...

    async def catch_up(self) -> None:
        """Returns once ``revision`` covers everything that anybody committed before the call."""
        ...

    def subscribe(self, callback: ChangeCallback, part: Part | None = None) -> Callable[[], None]:
        """Calls back for each later change; returns the unsubscriber.

        With ``part``: of objects that are, or were before the change, in it. What happens elsewhere costs nothing."""
        ...

    def keep(self) -> Callable[[], None]:
        """The objects stay decoded, for somebody will ask for them again and again; returns what ends it."""
        ...


class Transport(Protocol):
    async def call(self, call: Call) -> Any:
        """The decoded JSON answer (or str when the answer is text). Raises ``sampan.api.errors.ApiError``."""
        ...

    def watch(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Opens a watch. Entering raises ApiError; the iterator ends when the server ends the watch."""
        ...

    def cache_view(self, resource: Resource) -> CacheView | None:
        """The server's cache, when the server is in this process; else None."""
        ...

    async def close(self) -> None: ...
