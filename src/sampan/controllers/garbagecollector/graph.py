"""The owner graph: who depends on whom, fed by events of every resource.

Only objects that have owners are kept, as small records; whether an owner exists is asked of the informers. No I/O.
Invariants: ``_dependents[uid]`` are exactly the records that name ``uid`` as an owner; ``_by_kind`` has, by group and
kind, exactly those that name an owner of a kind that is not built in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sampan.api import objects
from sampan.api.resources import Resource
from sampan.api.types import Obj, OwnerReference
from sampan.records import dataclass

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Item(NamedTuple):
    """The identity of an object anywhere in the cluster: the key of the collector's queue."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.resource.plural} {self.namespace}/{self.name}"


def item_of(resource: Resource, obj: Obj) -> Item:
    meta = obj["metadata"]
    return Item(resource, meta.get("namespace", ""), meta["name"], meta["uid"])


def is_waiting_for_dependents(obj: Obj) -> bool:
    """Deleted in the foreground: it stays until what it blocks on is gone."""
    return objects.is_deleting(obj) and FOREGROUND in objects.finalizers(obj)


def is_orphaning(obj: Obj) -> bool:
    return objects.is_deleting(obj) and ORPHAN in objects.finalizers(obj)


@dataclass(frozen=True, slots=True)
class Record:
    item: Item
    owners: tuple[OwnerReference, ...]
    deleting: bool


def _kind_of(owner: OwnerReference) -> tuple[str, str]:
    return owner["apiVersion"].rpartition("/")[0], owner["kind"]


def _identity(owner: OwnerReference) -> tuple[str, tuple[str, str]]:
    return owner["uid"], _kind_of(owner)


class Graph:
    def __init__(self, is_built_in: Callable[[OwnerReference], bool] = lambda owner: False) -> None:
        self._is_built_in = is_built_in
        self._by_kind: dict[tuple[str, str], dict[str, None]] = {}
        self._records: dict[str, Record] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def dependents(self, uid: str) -> list[Record]:
        return [self._records[child] for child in self._dependents.get(uid, ())]

    def observe(self, item: Item, obj: Obj) -> list[Item]:
        """Takes in a present object; returns what has to be looked at because of it."""
        owners = tuple(objects.owner_references(obj))
        old = self._records.get(item.uid)
        if not owners and old is None and not objects.is_deleting(obj):
            return []
        affected: list[Item] = []
        record = Record(item, owners, objects.is_deleting(obj))
        if old is None or list(map(_identity, old.owners)) != list(map(_identity, owners)):
            self._unlink(old)
            if owners:
                self._records[item.uid] = record
                for owner in owners:
                    self._dependents.setdefault(owner["uid"], {})[item.uid] = None
                    if not self._is_built_in(owner):
                        self._by_kind.setdefault(_kind_of(owner), {})[item.uid] = None
            affected.append(item)
        elif owners:
            self._records[item.uid] = record
        if is_orphaning(obj) or is_waiting_for_dependents(obj):
            affected.append(item)
        return affected

    def forget(self, item: Item) -> list[Item]:
        """Takes in a deletion; returns the dependents, which have one owner less."""
        record = self._records.get(item.uid)
        self._unlink(record)
        return [child.item for child in self.dependents(item.uid)]

    def owned_by_kind(self, group: str, kind: str) -> list[Item]:
        """Whatever names an owner of this kind, which is not built in: for when it begins to be served."""
        return [self._records[uid].item for uid in self._by_kind.get((group, kind), ())]

    def of_resource(self, resource: Resource) -> list[Item]:
        return [record.item for record in self._records.values() if record.item.resource == resource]

    def owners_of(self, uid: str) -> Iterable[OwnerReference]:
        record = self._records.get(uid)
        return record.owners if record is not None else ()

    def check_invariants(self) -> None:
        for uid, record in self._records.items():
            for owner in record.owners:
                assert uid in self._dependents[owner["uid"]]
                assert self._is_built_in(owner) or uid in self._by_kind[_kind_of(owner)]
        for wanted, children in self._by_kind.items():
            assert children
            for child in children:
                assert any(_kind_of(ref) == wanted for ref in self._records[child].owners)
        for owner_uid, children in self._dependents.items():
            for child in children:
                assert any(ref["uid"] == owner_uid for ref in self._records[child].owners)

    def _unlink(self, record: Record | None) -> None:
        if record is None:
            return
        self._records.pop(record.item.uid, None)
        for owner in record.owners:
            children = self._dependents.get(owner["uid"])
            if children is not None:
                children.pop(record.item.uid, None)
                if not children:
                    del self._dependents[owner["uid"]]
            alike = self._by_kind.get(_kind_of(owner))
            if alike is not None:
                alike.pop(record.item.uid, None)
                if not alike:
                    del self._by_kind[_kind_of(owner)]
