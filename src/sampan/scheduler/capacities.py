"""How much room drivers have, and where, as CSIStorageCapacity objects say (upstream ``hasEnoughCapacity``).

Kept by class; a look at one costs as many tests as the class has different selectors of the nodes. What is bound to one
value of a label, as drivers of one node's disk say it, costs a look-up together. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from sampan.api import labels, objects
from sampan.api.labels import Selector, SelectorError
from sampan.api.reading import part, text
from sampan.api.storage import claims
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.arrays import At, Bools, NodeArrays

#: capacities that are kept, of all classes together; of what is more nothing is known, so that nobody waits for it
_MOST: Final = 65536


@dataclass(frozen=True, slots=True)
class _Room:
    kind: str
    #: the largest volume that can be made
    largest: int
    selector: Selector
    #: the only label and its value, when that is all that the selector asks
    only: tuple[str, str] | None


class Capacities:
    """Invariant: ``_rooms[class]`` holds, by the object's key, what ``_classes[key]`` says is of that class."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[tuple[str, str], _Room]] = {}
        self._classes: dict[tuple[str, str], str] = {}

    def changed(self, capacity: Obj, *, gone: bool = False) -> str:
        """The class where there may be more room than before; ""."""
        key = (objects.namespace(capacity), objects.name(capacity))
        before = self._drop(key)
        if gone or len(self._classes) >= _MOST or (room := _read(capacity)) is None:
            return ""
        self._classes[key] = room.kind
        self._rooms.setdefault(room.kind, {})[key] = room
        return room.kind if before is None or before.largest < room.largest or before.kind != room.kind else ""

    def where(self, kind: str, size_bytes: int, nodes: NodeArrays, at: At) -> Bools:
        """The nodes where a volume of the class and of this size can be made."""
        found = np.zeros(nodes.length(at), np.bool_)
        values: dict[str, set[str | None]] = {}
        for room in self._rooms.get(kind, {}).values():
            if room.largest < size_bytes:
                continue
            if room.only is not None:
                values.setdefault(room.only[0], set()).add(room.only[1])
                continue
            matched = np.ones(nodes.length(at), np.bool_)
            for requirement in room.selector.requirements:
                matched &= nodes.where_label(requirement.key, requirement.test, at)
            found |= matched
        for key, wanted in values.items():
            found |= nodes.where_label(key, wanted.__contains__, at)
        return found

    def _drop(self, key: tuple[str, str]) -> _Room | None:
        kind = self._classes.pop(key, None)
        if kind is None:
            return None
        rooms = self._rooms[kind]
        room = rooms.pop(key)
        if not rooms:
            del self._rooms[kind]
        return room


def _read(capacity: Obj) -> _Room | None:
    """None: it reaches no node, or says nothing of sizes."""
    limit = capacity.get("maximumVolumeSize", capacity.get("capacity"))
    topology = capacity.get("nodeTopology")
    if limit is None or not isinstance(topology, dict):
        return None
    try:
        selector = labels.from_label_selector(topology)
    except SelectorError:
        return None
    return _Room(text(capacity, "storageClassName"), claims.bytes_of(limit), selector, _only(topology))


def _only(topology: Mapping[str, object]) -> tuple[str, str] | None:
    wanted = topology.get("matchLabels")
    if topology.get("matchExpressions") or not isinstance(wanted, dict) or len(wanted) != 1:
        return None
    [(key, value)] = wanted.items()
    return (key, value) if isinstance(value, str) else None


def asks(driver: Obj | None) -> bool:
    """Whether a driver wants its room looked at."""
    return driver is not None and part(driver, "spec").get("storageCapacity") is True
