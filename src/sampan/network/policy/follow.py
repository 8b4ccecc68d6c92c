"""Follows one resource of the API server, object by object, and keeps none: who is told keeps what an object means.

A node hears of every pod of the cluster while there are policies, so what is held of each must be little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from sampan.api.clock import Random
from sampan.api.reading import part, text
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.keys import ObjectKey, key_of, revision_of
from sampan.client.reflector import Reflector

_PAGE_SIZE = 200
#: So many objects are read before others on the event loop have a turn.
_AT_ONCE = 20
#: Policy is wanted as soon as the API server is back: the waits grow to some three seconds, no longer.
_MOST_FAILURES = 5


class Follower(Reflector):
    """``synced`` is set once what was there at the beginning has been told. ``drop`` hears the key of what is gone, and
    its uid where that is known."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        random: Random,
        put: Callable[[Obj], None],
        drop: Callable[[ObjectKey, str], None],
    ) -> None:
        super().__init__(client, resource, self, random)
        self._put, self._drop = put, drop
        self._held: set[ObjectKey] = set()
        self.synced = asyncio.Event()

    # The reflector's sink

    def put(self, obj: Obj) -> None:
        obj.setdefault("kind", self._resource.kind)
        obj.setdefault("apiVersion", self._resource.api_version)
        self._held.add(key_of(obj))
        self._put(obj)

    def remove(self, obj: Obj) -> None:
        self._forget(key_of(obj), text(part(obj, "metadata"), "uid"))

    def advance(self, revision: int) -> None:
        """Nothing is remembered of it."""

    def replace(self, objects: Iterable[Obj], revision: int) -> None:
        """Of what is not served any more; ``_list`` takes page by page."""
        self._keep_only(set(map(key_of, objects)))
        self.synced.set()

    def _keep_only(self, listed: set[ObjectKey]) -> None:
        for key in sorted(self._held - listed):
            self._forget(key)

    def _forget(self, key: ObjectKey, uid: str = "") -> None:
        self._held.discard(key)
        self._drop(key, uid)

    async def _back_off(self) -> None:
        self._failures = min(self._failures, _MOST_FAILURES)
        await super()._back_off()

    async def _list(self) -> int:
        """Without holding all of it at once."""
        listed: set[ObjectKey] = set()
        token = ""
        while True:
            page = await self._client.list(self._resource, limit=_PAGE_SIZE, continue_token=token)
            for index, item in enumerate(page.get("items") or ()):
                self.put(item)
                listed.add(key_of(item))
                if index % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                break
        self._keep_only(listed)
        self._told = False  # should the kind be served no more, ``replace`` is called, and drops what there was
        self.synced.set()
        return revision_of(page)
