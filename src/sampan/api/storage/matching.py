"""Which volume a claim gets: the smallest that fits (upstream ``FindMatchingVolume``). Pure.

``FreeVolumes`` holds what nobody has, ordered so that a look begins at the wanted size: what one claim costs does not
grow with the volumes that are too small for it.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterable, Iterator

from sampan.api import objects
from sampan.api.reading import part, text
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj


def complaint(volume: Obj, claim: Obj) -> str:
    """Why a claim cannot have the volume that it names; "": it can."""
    if objects.is_deleting(volume):
        return f'the volume is marked for deletion "{objects.name(volume)}"'
    if volumes.capacity_bytes(volume) < claims.requested_bytes(claim):
        return "requested PV is too small"
    if volumes.class_of(volume) != claims.class_of(claim):
        return "storageClassName does not match"
    if _attributes(volume) != _attributes(claim):
        return "volumeAttributesClassName does not match"
    if claims.volume_mode(volume) != claims.volume_mode(claim):
        return "incompatible volumeMode"
    if not claims.access_modes(claim) <= claims.access_modes(volume):
        return "incompatible accessMode"
    return ""


def is_free(volume: Obj) -> bool:
    return (
        volumes.claim_ref(volume) is None and volumes.phase(volume) == "Available" and not objects.is_deleting(volume)
    )


def is_kept_for(volume: Obj, claim: Obj) -> bool:
    """Somebody reserved it for this claim, and it can have it: class and selector are not asked."""
    return (
        volumes.is_for(volume, claim)
        and not objects.is_deleting(volume)
        and volumes.capacity_bytes(volume) >= claims.requested_bytes(claim)
        and claims.volume_mode(volume) == claims.volume_mode(claim)
        and claims.access_modes(claim) <= claims.access_modes(volume)
    )


def fits(volume: Obj, claim: Obj) -> bool:
    """Whether a free volume may go to the claim."""
    return is_free(volume) and not complaint(volume, claim) and volumes.selected(volume, claim)


def best_kept(kept: Iterable[Obj], claim: Obj) -> Obj | None:
    """Of the volumes that name the claim, the one that it gets."""
    return min((each for each in kept if is_kept_for(each, claim)), key=_order, default=None)


_Group = tuple[str, str, str, tuple[str, ...]]


class FreeVolumes:
    """Invariant: ``_sizes[group]`` holds (bytes, name) of exactly the volumes whose ``_where`` is (group, bytes)."""

    def __init__(self) -> None:
        self._sizes: dict[_Group, list[tuple[int, str]]] = {}
        self._where: dict[str, tuple[_Group, int]] = {}

    def put(self, volume: Obj) -> None:
        """A new state of a volume."""
        name = objects.name(volume)
        entry = (_group(volume), volumes.capacity_bytes(volume)) if is_free(volume) else None
        if self._where.get(name) == entry:
            return
        self.drop(name)
        if entry is not None:
            self._where[name] = entry
            bisect.insort(self._sizes.setdefault(entry[0], []), (entry[1], name))

    def drop(self, name: str) -> None:
        entry = self._where.pop(name, None)
        if entry is not None:
            sizes = self._sizes[entry[0]]
            del sizes[bisect.bisect_left(sizes, (entry[1], name))]
            if not sizes:
                del self._sizes[entry[0]]

    def find(self, claim: Obj, get: Callable[[str], Obj | None]) -> Obj | None:
        """The volume with the fewest access modes, and of these the smallest, that fits."""
        return next(iter(self.fitting(claim, get)), None)

    def fitting(self, claim: Obj, get: Callable[[str], Obj | None], without: Collection[str] = ()) -> Iterator[Obj]:
        """Those that fit, the best first. ``without``: names of those that are promised already."""
        modes = claims.access_modes(claim)
        wanted = (claims.class_of(claim), claims.volume_mode(claim), _attributes(claim))
        groups = [group for group in self._sizes if group[:3] == wanted and modes.issubset(group[3])]
        for group in sorted(groups, key=lambda group: (len(group[3]), group[3])):
            sizes = self._sizes[group]
            for index in range(bisect.bisect_left(sizes, (claims.requested_bytes(claim), "")), len(sizes)):
                name = sizes[index][1]
                volume = None if name in without else get(name)
                # All else is the group's, or its place in it. An informer may show a newer state than was put here.
                if volume is not None and is_free(volume) and volumes.selected(volume, claim):
                    yield volume


def _group(volume: Obj) -> _Group:
    modes = tuple(sorted(claims.access_modes(volume)))
    return volumes.class_of(volume), claims.volume_mode(volume), _attributes(volume), modes


def _order(volume: Obj) -> tuple[int, int, str]:
    return len(claims.access_modes(volume)), volumes.capacity_bytes(volume), objects.name(volume)


def _attributes(obj: Obj) -> str:
    return text(part(obj, "spec"), "volumeAttributesClassName")
