"""What is left in a namespace that is ending, counted while it goes: a deletion costs the same however much there is.

Fed by the events of every resource from the moment the controller began with the namespace. No I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field

from sampan.api import objects
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a pass over a namespace found: counts by ``resource.group`` and by finalizer, and errors. ``undiscovered``:
    why it is not known in full what is served; "": it is."""

    resources: Mapping[str, int] = field(default_factory=dict)
    finalizers: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    undiscovered: str = ""

    @property
    def empty(self) -> bool:
        return not self.resources and not self.errors and not self.undiscovered


@dataclass(frozen=True, slots=True)
class _Entry:
    deleting: bool
    finalizers: tuple[str, ...]


class Contents:
    """Invariants: ``_asked[resource]`` of its objects are on their way out; ``_finalizers`` counts those of all."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[str, _Entry]] = {}
        self._asked: Counter[Resource] = Counter()
        self._finalizers: Counter[str] = Counter()

    def put(self, resource: Resource, obj: Obj) -> None:
        self.drop(resource, obj)
        entry = _Entry(objects.is_deleting(obj), tuple(objects.finalizers(obj)))
        self._objects.setdefault(resource, {})[obj["metadata"]["name"]] = entry
        self._asked[resource] += entry.deleting
        self._finalizers.update(entry.finalizers)

    def drop(self, resource: Resource, obj: Obj) -> None:
        held = self._objects.get(resource, {})
        entry = held.pop(obj["metadata"]["name"], None)
        if entry is None:
            return
        self._asked[resource] -= entry.deleting
        self._finalizers.subtract(entry.finalizers)
        if not held:
            del self._objects[resource]

    def forget(self, resource: Resource) -> None:
        """Nobody serves it any more."""
        for entry in self._objects.pop(resource, {}).values():
            self._finalizers.subtract(entry.finalizers)
        del self._asked[resource]

    def resources(self) -> list[Resource]:
        """Those with anything left."""
        return list(self._objects)

    def has(self, resource: Resource) -> bool:
        return resource in self._objects

    def is_going(self, resource: Resource) -> bool:
        """The deletion of all of it was asked for."""
        return self._asked[resource] == len(self._objects.get(resource, ()))

    def remaining(self, errors: Iterable[str] = ()) -> Remaining:
        counts = {f"{resource.plural}.{resource.group}": len(held) for resource, held in self._objects.items()}
        return Remaining(counts, {name: n for name, n in self._finalizers.items() if n > 0}, tuple(errors))
