"""What to do with one object, given its owners and dependents (upstream ``garbagecollector.go``). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from sampan.api import objects
from sampan.api.types import Obj, OwnerReference
from sampan.client.client import Propagation
from sampan.controllers.garbagecollector.graph import (
    FOREGROUND,
    ORPHAN,
    Record,
    is_orphaning,
    is_waiting_for_dependents,
)
from sampan.records import dataclass

#: ``solid``: exists. ``waiting``: exists and is deleted in the foreground. ``absent``: does not exist.
#: ``unknown``: cannot be told, so the object must stay.
OwnerState = Literal["solid", "waiting", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class Delete:
    propagation: Propagation


@dataclass(frozen=True, slots=True)
class DropOwners:
    """Removes references to owners by uid."""

    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unblock:
    """Sets blockOwnerDeletion false on all references: owners that wait for each other would wait for ever."""


@dataclass(frozen=True, slots=True)
class DropFinalizer:
    finalizer: str


@dataclass(frozen=True, slots=True)
class CollectDependents:
    """Looks at each dependent that still has to go."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class OrphanDependents:
    records: tuple[Record, ...]


Step: TypeAlias = Delete | DropOwners | Unblock | DropFinalizer | CollectDependents | OrphanDependents


@dataclass(frozen=True, slots=True)
class Observed:
    """``owners`` pairs each reference of the object with its state."""

    obj: Obj
    owners: Sequence[tuple[OwnerReference, OwnerState]]
    dependents: Sequence[Record]


def plan(observed: Observed) -> list[Step]:
    obj, uid = observed.obj, observed.obj["metadata"]["uid"]
    if is_orphaning(obj):
        return [OrphanDependents(tuple(observed.dependents)), DropFinalizer(ORPHAN)]
    if is_waiting_for_dependents(obj):
        blocking = [record for record in observed.dependents if _blocks(record, uid)]
        if not blocking:
            return [DropFinalizer(FOREGROUND)]
        remaining = [record for record in observed.dependents if not record.deleting]
        return [CollectDependents(tuple(remaining))] if remaining else []
    if objects.is_deleting(obj) or not observed.owners:
        return []
    by_state: dict[OwnerState, list[OwnerReference]] = {}
    for reference, state in observed.owners:
        by_state.setdefault(state, []).append(reference)
    gone = [*by_state.get("absent", ()), *by_state.get("waiting", ())]
    if by_state.get("unknown"):
        return []
    if by_state.get("solid"):
        return [DropOwners(frozenset(ref["uid"] for ref in gone))] if gone else []
    if by_state.get("waiting") and observed.dependents:
        # Foreground goes down the tree; a cycle of blocking references is opened first.
        return [Unblock(), Delete("Foreground")]
    finalizers = objects.finalizers(obj)
    if ORPHAN in finalizers:
        return [Delete("Orphan")]
    return [Delete("Foreground" if FOREGROUND in finalizers else "Background")]


def _blocks(record: Record, owner_uid: str) -> bool:
    return any(ref["uid"] == owner_uid and ref.get("blockOwnerDeletion") for ref in record.owners)
