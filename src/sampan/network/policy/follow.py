"""Follows one resource of the API server, object by object, and keeps none: who is told keeps what an object means.

A node hears of every pod of the cluster while there are policies, so what is held of each must be little.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.clock import Random
from sampan.api.reading import part, text
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.keys import ObjectKey, key_of
from sampan.client.reflector import PagedReflector

_PAGE_SIZE = 200
#: So many objects are read before others on the event loop have a turn.
_AT_ONCE = 20


class Follower(PagedReflector):
    """``drop`` hears the key of what is gone, and its uid where that is known."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        random: Random,
        put: Callable[[Obj], None],
        drop: Callable[[ObjectKey, str], None],
    ) -> None:
        super().__init__(client, resource, random, page_size=_PAGE_SIZE, at_once=_AT_ONCE)
        self._put, self._drop = put, drop
        self._held: set[ObjectKey] = set()

    def put(self, obj: Obj) -> None:
        self._held.add(key_of(obj))
        self._put(obj)

    def remove(self, obj: Obj) -> None:
        self._forget(key_of(obj), text(part(obj, "metadata"), "uid"))

    def keep_only(self, listed: set[ObjectKey]) -> None:
        for key in sorted(self._held - listed):
            self._forget(key)

    def _forget(self, key: ObjectKey, uid: str = "") -> None:
        self._held.discard(key)
        self._drop(key, uid)
