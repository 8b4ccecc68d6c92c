"""Records of node ports: a key for each port below ``/ranges/servicenodeports/``, with the Service that has it.

A port is one record whatever the protocol, as upstream's range is. No objects of the API: only the allocator reads
and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.allocators.records import Owner
from sampan.store.cache import WatchCache
from sampan.store.protocol import Entry, Store

PREFIX = "/ranges/servicenodeports/"
_NOTHING: Mapping[str, str] = {}


class PortForm:
    def make(self, name: str, owner: Owner) -> Obj:
        return {"service": {"namespace": owner.namespace, "name": owner.name}}

    def read(self, obj: Obj) -> tuple[Owner | None, bool]:
        service = obj.get("service")
        if not isinstance(service, dict):  # somebody wrote into the store by hand; repair sees to it
            return None, True
        return Owner(str(service.get("namespace", "")), str(service.get("name", ""))), True


@dataclass(frozen=True, slots=True)
class Written:
    revision: int


class PortStorage:
    """The ``RecordStorage`` of ports. ``start`` fills its cache."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cache = WatchCache(store, PREFIX, lambda _obj: (_NOTHING, _NOTHING), self.decode)

    async def start(self) -> None:
        await self.cache.start()

    def close(self) -> None:
        self.cache.close()

    def key(self, namespace: str, name: str) -> str:
        return PREFIX + name

    def decode(self, value: bytes, revision: int) -> Obj:
        decoded: Obj = orjson.loads(value)
        return decoded

    async def fresh(self, key: str) -> Entry | None:
        return await self._store.get(key)

    async def commit(self, key: str, expected: int, obj: Obj) -> Written:
        return Written(await self._store.commit(key, expected, orjson.dumps(obj)))

    async def remove(self, key: str, expected: int) -> int:
        return await self._store.commit(key, expected, None)
