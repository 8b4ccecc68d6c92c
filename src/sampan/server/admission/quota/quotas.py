"""The quotas of a namespace as the ledger reads and charges them: the seam to the store."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from sampan.api.quota import amounts
from sampan.api.quota.amounts import Amounts
from sampan.api.reading import part, text
from sampan.api.resources import RESOURCE_QUOTAS
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.followed import Followed
from sampan.server.reader import ObjectReader
from sampan.server.storage import ResourceStorage, Stored
from sampan.server.surface import Surfaces
from sampan.store.protocol import EntryDamaged

#: quotas that are decoded in one turn of the loop
_STEP: Final = 20


@dataclass(frozen=True, slots=True)
class QuotaEntry:
    key: str
    obj: Obj
    revision: int

    @property
    def name(self) -> str:
        return text(part(self.obj, "metadata"), "name")


class Quotas(Protocol):
    def any(self, namespace: str) -> bool:
        """Whether the namespace has one, for the price of a look-up."""
        ...

    async def cached(self, namespace: str) -> list[QuotaEntry]:
        """In the order of their names; perhaps a moment behind."""
        ...

    async def newest(self, namespace: str) -> list[QuotaEntry]:
        """As the store has them."""
        ...

    async def newest_of(self, namespace: str, name: str) -> QuotaEntry | None: ...

    async def commit(self, current: QuotaEntry, used: Amounts) -> None:
        """Raises RevisionConflict, StoreUnavailable."""
        ...


class NoQuotas:
    """``Quotas`` of a server without any: for tests of other policy."""

    def any(self, namespace: str) -> bool:
        return False

    async def cached(self, namespace: str) -> list[QuotaEntry]:
        return []

    async def newest(self, namespace: str) -> list[QuotaEntry]:
        return []

    async def newest_of(self, namespace: str, name: str) -> QuotaEntry | None:
        return None

    async def commit(self, current: QuotaEntry, used: Amounts) -> None:
        raise LookupError("there are no quotas")


class StoredQuotas:
    """``Quotas`` over the server's storage. What cannot be read limits nothing."""

    def __init__(self, surfaces: Surfaces, reader: ObjectReader) -> None:
        self._surfaces = surfaces
        self._followed = Followed(reader, RESOURCE_QUOTAS)

    def any(self, namespace: str) -> bool:
        return bool(self._followed.of(namespace))

    async def cached(self, namespace: str) -> list[QuotaEntry]:
        storage, found = self._storage(), list[QuotaEntry]()
        for index, name in enumerate(sorted(self._followed.of(namespace))):
            if index % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            entry = _entry(storage.cached(storage.key(namespace, name)))
            if entry is not None:
                found.append(entry)
        return found

    async def newest(self, namespace: str) -> list[QuotaEntry]:
        found = [await self.newest_of(namespace, name) for name in sorted(self._followed.of(namespace))]
        return [entry for entry in found if entry is not None]

    async def newest_of(self, namespace: str, name: str) -> QuotaEntry | None:
        storage = self._storage()
        return _entry(await storage.newest(storage.key(namespace, name)))

    async def commit(self, current: QuotaEntry, used: Amounts) -> None:
        status = {**part(current.obj, "status"), "used": amounts.write(used)}
        await self._storage().commit(current.key, current.revision, {**current.obj, "status": status})

    def _storage(self) -> ResourceStorage:
        view = self._surfaces.current.by_resource(RESOURCE_QUOTAS)
        if view is None:
            raise LookupError("resourcequotas are not served")
        return view.storage


def _entry(stored: Stored | None) -> QuotaEntry | None:
    if stored is None or stored.damaged:
        return None
    try:
        return QuotaEntry(stored.key, stored.object(), stored.revision)
    except EntryDamaged:
        return None
