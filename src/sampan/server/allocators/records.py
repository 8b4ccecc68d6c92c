"""Who holds an address or a port: one record in the store for each, created and removed by compare-and-swap.

Whoever creates the record holds the number; there is nothing else to agree on, so any number of API servers may share
a store. A record is created before the Service that names it is committed and removed after the Service let go of it:
a crash in between leaves a record without a Service, never a Service whose number is free. ``repair`` finds those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from sampan.api.types import Obj
from sampan.store.cache import WatchCache
from sampan.store.protocol import Entry, RevisionConflict


class AlreadyAllocated(Exception):
    """Somebody holds the number. ``owner`` None: it cannot be said who."""

    def __init__(self, owner: Owner | None = None) -> None:
        super().__init__(owner)
        self.owner = owner


@dataclass(frozen=True, slots=True)
class Owner:
    """The Service that holds a number."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the cache has it. ``owner`` None: it names no Service, or cannot be read. ``managed``: made here."""

    name: str
    owner: Owner | None
    revision: int
    managed: bool = True


class RecordStorage(Protocol):
    """Where records live: ``server.storage.ResourceStorage``, or ``ports.PortStorage``."""

    cache: WatchCache

    def key(self, namespace: str, name: str) -> str: ...
    def decode(self, value: bytes, revision: int) -> Obj: ...
    async def fresh(self, key: str) -> Entry | None: ...
    async def commit(self, key: str, expected: int, obj: Obj) -> Any: ...
    async def remove(self, key: str, expected: int) -> int: ...


class Form(Protocol):
    """How a record of one sort is written."""

    def make(self, name: str, owner: Owner) -> Obj: ...

    def read(self, obj: Obj) -> tuple[Owner | None, bool]:
        """Whose it is, and whether it was made here."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """A record that one write created."""

    records: Records
    name: str
    revision: int

    async def give_back(self) -> None:
        await self.records.remove(self.name, self.revision)

    async def pass_on(self, owner: Owner) -> None:
        await self.records.rewrite(self.name, self.revision, owner)


class Records:
    """``name`` is what a record is called: the text of an address, the digits of a port."""

    def __init__(self, storage: RecordStorage, form: Form) -> None:
        self._storage, self._form = storage, form

    @property
    def version(self) -> int:
        """Another one whenever a record changed."""
        return self._storage.cache.version()

    def looks_taken(self, name: str) -> bool:
        """As the cache has it, which may be behind."""
        return self._storage.cache.get(self._storage.key("", name)) is not None

    def __iter__(self) -> Iterator[Record]:
        """All of them, as the cache has them."""
        cache = self._storage.cache
        for entry in cache.entries():
            name = entry.key[len(cache.prefix) :]
            owner, managed = (None, True) if entry.damaged else self._form.read(entry.object())
            yield Record(name, owner, entry.revision, managed)

    async def catch_up(self) -> None:
        """Returns once the cache shows everything that anyone committed before."""
        await self._storage.cache.barrier()

    async def check_free(self, name: str) -> None:
        """Raises AlreadyAllocated."""
        entry = await self._storage.fresh(self._storage.key("", name))
        if entry is not None:
            raise AlreadyAllocated(self._owner(entry))

    async def take(self, name: str, owner: Owner) -> Taken:
        """Raises AlreadyAllocated, StoreUnavailable."""
        storage = self._storage
        key = storage.key("", name)
        try:
            written = await storage.commit(key, 0, self._form.make(name, owner))
        except RevisionConflict:
            entry = await storage.fresh(key)
            raise AlreadyAllocated(self._owner(entry) if entry is not None else None) from None
        return Taken(self, name, written.revision)

    async def release(self, name: str, owner: Owner) -> None:
        """Removes the record if it is ``owner``'s. Idempotent. Raises StoreUnavailable."""
        entry = await self._storage.fresh(self._storage.key("", name))
        if entry is not None and self._owner(entry) == owner:
            await self.remove(name, entry.revision)

    async def remove(self, name: str, revision: int) -> bool:
        """False: it is no longer at that revision, so it is not the one that was meant. Raises StoreUnavailable."""
        try:
            await self._storage.remove(self._storage.key("", name), revision)
        except RevisionConflict:
            return False
        return True

    async def rewrite(self, name: str, revision: int, owner: Owner) -> bool:
        """Makes it ``owner``'s; False: it changed meanwhile. Raises StoreUnavailable."""
        storage = self._storage
        try:
            await storage.commit(storage.key("", name), revision, self._form.make(name, owner))
        except RevisionConflict:
            return False
        return True

    def _owner(self, entry: Entry) -> Owner | None:
        try:
            return self._form.read(self._storage.decode(entry.value, entry.revision))[0]
        except Exception:  # anybody may write such an object, in any shape: then it is nobody's that we know
            return None
