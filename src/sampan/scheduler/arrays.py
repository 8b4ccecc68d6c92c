"""All nodes as NumPy arrays: one slot a node, one array a property. Plugins read them, only the cache writes.

Labels are interned per key, taints per set of taints, so that a rule is evaluated once for each distinct value and
spread over the nodes by one indexing operation. Matrices are resource × slot: the row of a resource is contiguous.
One event loop; a decision is synchronous, so these arrays are its snapshot and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sampan.api.imagenames import with_tag
from sampan.api.nodes import taints
from sampan.api.nodes.status import is_cordoned
from sampan.api.pods.requests import amounts
from sampan.api.reading import part, parts, text, text_map, texts, whole
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.podinfo import PodInfo

T = TypeVar("T")
Number = TypeVar("Number", bound=np.generic)

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Ids: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float64]
#: Which slots an operation is about: all, or these.
At: TypeAlias = slice | NDArray[np.intp]

CPU, MEMORY, EPHEMERAL, PODS = range(4)
_FIRST = 64
#: Below this many slots a Python loop beats a table of all values.
_FEW = 8
#: Changes that are remembered one by one; who has missed more looks at all slots.
_LOG = 4096
#: What plug-ins remember of the nodes alone.
_MEMO = 512
#: Images whose last change is remembered.
_IMAGES = 16384


class LabelColumn:
    """The values of one label key on all slots; id 0 is "has no such label"."""

    def __init__(self, capacity: int) -> None:
        self.ids: Ids = np.zeros(capacity, np.int32)
        self.values: list[str | None] = [None]
        self._index: dict[str, int] = {}

    def set(self, slot: int, value: str | None) -> None:
        self.ids[slot] = 0 if value is None else self.intern(value)

    def intern(self, value: str) -> int:
        found = self._index.get(value)
        if found is None:
            found = self._index[value] = len(self.values)
            self.values.append(value)
        return found

    def find(self, value: str) -> int | None:
        """Its id; None: no node ever had it."""
        return self._index.get(value)

    def where(self, predicate: Callable[[str | None], bool], at: At) -> Bools:
        ids = self.ids[at]
        values = self.values
        if len(ids) < _FEW:
            return np.array([predicate(values[i]) for i in ids], np.bool_)
        return np.array([predicate(value) for value in values], np.bool_)[ids]


class Taint(tuple[str, str, str]):
    """(key, value, effect)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of one resource on all slots. ``amounts`` are at least one, to divide by; ``everywhere``: all nodes offer it."""

    amounts: Floats
    offered: Bools
    everywhere: bool
    largest: int


class NodeArrays:
    """Invariants: ``slot_of[name]`` is unique and ``present`` there; a slot that is not present has neither labels
    nor usage; ``changed[slot]`` grows with every change of that slot."""

    def __init__(self) -> None:
        self.capacity = _FIRST
        self.size = 0  # slots in use are below this
        self.count = 0
        self.slot_of: dict[str, int] = {}
        self.names: list[str] = []
        self.objects: list[Obj] = []
        self._free: list[int] = []
        self.resources: dict[str, int] = {"cpu": CPU, "memory": MEMORY, "ephemeral-storage": EPHEMERAL, "pods": PODS}
        self.allocatable: Ints = np.zeros((4, _FIRST), np.int64)
        self.requested: Ints = np.zeros((4, _FIRST), np.int64)
        self.nonzero: Ints = np.zeros((2, _FIRST), np.int64)
        self.present: Bools = np.zeros(_FIRST, np.bool_)
        self.unschedulable: Bools = np.zeros(_FIRST, np.bool_)
        self.changed: Ints = np.zeros(_FIRST, np.int64)
        self.taint_set: Ids = np.zeros(_FIRST, np.int32)
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        self._taint_ids: dict[tuple[Taint, ...], int] = {(): 0}
        self.labels: dict[str, LabelColumn] = {}
        self.images: dict[str, tuple[int, set[int]]] = {}
        #: when the nodes that hold an image, or its size, changed last
        self.image_changed: dict[str, int] = {}
        self.ports: dict[tuple[str, int], dict[int, dict[str, int]]] = {}
        #: counts changes of any slot, and changes after which verdicts of all slots may differ
        self.version = 0
        self.structure = 0
        #: when the node itself changed last, not the pods on it; ``node_version`` is the newest of these
        self.node_changed: Ints = np.zeros(_FIRST, np.int64)
        self.node_version = 0
        #: the slots of the newest changes, the last one that of ``version``
        self._log: list[int] = []
        #: anything that follows from the nodes alone; forgotten when one changes
        self.memo: dict[Any, Any] = {}
        #: counts changes of which nodes there are, of their labels and of their taints
        self.layout = 0
        #: what follows from these alone
        self._layout_memo: dict[Any, Any] = {}
        #: vectors of what follows from each slot by itself, with the version that they are of
        self._followed: dict[Any, tuple[int, Any]] = {}

    # Nodes

    def put(self, node: Obj) -> int:
        name = node["metadata"]["name"]
        slot = self.slot_of.get(name)
        if slot is None:
            slot = self._take_slot(name, node)
            before: Obj = {}
        else:
            before = self.objects[slot]
            self.objects[slot] = node
        relabelled = self._set_labels(slot, before, node)
        status = part(node, "status")
        self.unschedulable[slot] = is_cordoned(node)
        taint_set = self._taints(taints.of(node))
        if relabelled or not before or taint_set != self.taint_set[slot]:
            self._layout_was_changed()
        self.taint_set[slot] = taint_set
        for index in self.resources.values():
            self.allocatable[index, slot] = 0
        for resource, value in amounts(status.get("allocatable") or status.get("capacity")).items():
            row = self.row(resource)  # first: it may replace the matrix
            self.allocatable[row, slot] = value
        self._set_images(slot, part(before, "status").get("images"), status.get("images"))
        self._node_was_changed(slot)
        return slot

    def drop(self, name: str) -> None:
        slot = self.slot_of.pop(name, None)
        if slot is None:
            return
        before = self.objects[slot]
        self._set_labels(slot, before, {"metadata": {"name": ""}})
        self._set_images(slot, part(before, "status").get("images"), None)
        self.allocatable[:, slot] = self.requested[:, slot] = 0
        self.nonzero[:, slot] = 0
        for held in self.ports.values():
            held.pop(slot, None)
        self.present[slot] = False
        self.names[slot] = ""
        self.objects[slot] = {}
        self._free.append(slot)
        self.count -= 1
        self.structure += 1
        self._layout_was_changed()
        self._node_was_changed(slot)

    def touch(self, slot: int) -> None:
        self.version += 1
        self.changed[slot] = self.version
        log = self._log
        log.append(slot)
        if len(log) >= 2 * _LOG:
            del log[:_LOG]

    def changed_since(self, version: int) -> At:
        """The slots that changed after a version."""
        missed = self.version - version
        if missed <= len(self._log) and missed <= _LOG:
            return np.array(self.slots_since(version), np.intp)
        return np.flatnonzero(self.changed[: self.size] > version)

    def slots_since(self, version: int) -> list[int]:
        """The same in plain numbers, for who asks often: nothing that was missed is older than the log."""
        missed = self.version - version
        if missed == 1:
            return self._log[-1:]
        return sorted(set(self._log[len(self._log) - missed :])) if missed else []

    def remembered(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` finds from the nodes alone (not from pods on them), kept until a node changes."""
        return _kept(self.memo, key, make)

    def remembered_of_layout(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` finds from the nodes' names, labels and taints, kept until one of these changes."""
        return _kept(self._layout_memo, key, make)

    def followed(self, key: Any, make: Callable[[At], NDArray[Number]]) -> NDArray[Number]:
        """What ``make`` finds of each slot, from that slot and the pods on it alone: kept, and found anew where a slot
        changed. For a few keys, those of plug-ins. Not to be changed."""
        values: NDArray[Number] | None
        seen, values = self._followed.get(key, (-1, None))
        if values is None or len(values) != self.size:
            values = make(self.all())
        elif seen != self.version:
            at = self.changed_since(seen)
            values[at] = make(at)
        self._followed[key] = self.version, values
        return values

    def capacity_of(self, resource: str) -> Capacity:
        return self.remembered(("capacity", resource), lambda: self._find_capacity(self.row(resource)))

    def _find_capacity(self, row: int) -> Capacity:
        amounts = self.allocatable[row, : self.size]
        offered = amounts > 0
        everywhere = bool(offered[self.present[: self.size]].all())
        return Capacity(np.maximum(amounts, 1).astype(np.float64), offered, everywhere, int(amounts.max(initial=0)))

    def _layout_was_changed(self) -> None:
        self.layout += 1
        self._layout_memo.clear()

    def _node_was_changed(self, slot: int) -> None:
        self.memo.clear()
        self.touch(slot)
        self.node_version = self.version
        self.node_changed[slot] = self.version

    # Usage

    def add_usage(self, slot: int, pod: PodInfo, sign: int) -> None:
        """``sign`` 1 adds the pod to the slot, -1 takes it away."""
        shape = pod.shape
        for resource in shape.requests:
            if resource not in self.resources:
                self.row(resource)
        resources, requested = self.resources, self.requested
        for resource, value in shape.requests.items():
            requested[resources[resource], slot] += sign * value
        cpu, memory = shape.nonzero
        self.nonzero[CPU, slot] += sign * cpu
        self.nonzero[MEMORY, slot] += sign * memory
        for address, protocol, port in shape.ports:
            held = self.ports.setdefault((protocol, port), {}).setdefault(slot, {})
            held[address] = held.get(address, 0) + sign
            if held[address] <= 0:
                del held[address]
        self.touch(slot)

    # Reading

    def row(self, resource: str) -> int:
        """The row of a resource; one that no node offers gets a row of zeros."""
        found = self.resources.get(resource)
        if found is None:
            found = self.resources[resource] = len(self.resources)
            empty = np.zeros((1, self.capacity), np.int64)
            self.allocatable = np.vstack((self.allocatable, empty))
            self.requested = np.vstack((self.requested, empty))
        return found

    def all(self) -> slice:
        return slice(0, self.size)

    @staticmethod
    def only(at: At) -> int | None:
        """The slot, when ``at`` is a single one: plain numbers are then several times faster than arrays."""
        return int(at[0]) if not isinstance(at, slice) and len(at) == 1 else None

    def length(self, at: At) -> int:
        return self.size if isinstance(at, slice) else len(at)

    def slots(self, at: At) -> Sequence[int]:
        """In plain numbers."""
        found: Sequence[int] = range(self.size) if isinstance(at, slice) else at.tolist()
        return found

    def where_label(self, key: str, predicate: Callable[[str | None], bool], at: At) -> Bools:
        column = self.labels.get(key)
        if column is None:
            return np.full(self.length(at), predicate(None), np.bool_)
        return column.where(predicate, at)

    def where_name(self, names: set[str], at: At) -> Bools:
        found = np.zeros(self.size, np.bool_)
        for name in names:
            slot = self.slot_of.get(name)
            if slot is not None:
                found[slot] = True
        return found[at]

    def by_taint_set(self, value: Callable[[tuple[Taint, ...]], int], at: At) -> Ids:
        """A number for each slot, computed once for each distinct set of taints."""
        ids = self.taint_set[at]
        if len(ids) < _FEW:
            return np.array([value(self.taint_sets[i]) for i in ids], np.int32)
        return np.array([value(taints) for taints in self.taint_sets], np.int32)[ids]

    # Inside

    def _take_slot(self, name: str, node: Obj) -> int:
        if self._free:
            slot = self._free.pop()
            self.names[slot], self.objects[slot] = name, node
        else:
            slot = self.size
            if slot == self.capacity:
                self._grow()
            self.size += 1
            self.names.append(name)
            self.objects.append(node)
        self.slot_of[name] = slot
        self.present[slot] = True
        self.count += 1
        self.structure += 1
        return slot

    def _grow(self) -> None:
        more = self.capacity
        self.capacity *= 2
        for matrix in ("allocatable", "requested", "nonzero"):
            setattr(self, matrix, np.pad(getattr(self, matrix), ((0, 0), (0, more))))
        for vector in ("present", "unschedulable", "changed", "node_changed", "taint_set"):
            setattr(self, vector, np.pad(getattr(self, vector), (0, more)))
        for column in self.labels.values():
            column.ids = np.pad(column.ids, (0, more))

    def _set_labels(self, slot: int, before: Obj, after: Obj) -> bool:
        """Whether any changed."""
        old, new = text_map(part(before, "metadata"), "labels"), text_map(part(after, "metadata"), "labels")
        for key in old:
            if key not in new:
                self.labels[key].set(slot, None)
        for key, value in new.items():
            if old.get(key) != value:
                column = self.labels.get(key)
                if column is None:
                    column = self.labels[key] = LabelColumn(self.capacity)
                column.set(slot, value)
        return old != new

    def _taints(self, listed: list[Obj]) -> int:
        key = tuple(Taint((text(t, "key"), text(t, "value"), text(t, "effect"))) for t in listed)
        found = self._taint_ids.get(key)
        if found is None:
            found = self._taint_ids[key] = len(self.taint_sets)
            self.taint_sets.append(key)
            if any(taint[2] == "PreferNoSchedule" for taint in key):
                self.structure += 1  # taints may count in scores now where they did not before
        return found

    def _set_images(self, slot: int, before: Any, after: Any) -> None:
        """Scores by image depend on how many nodes hold it: a change concerns the pods that run it, on all nodes."""
        if before == after:
            return
        old, new = _image_bytes(before), _image_bytes(after)
        for name in old.keys() | new.keys():
            if old.get(name) == new.get(name):
                continue
            _, slots = self.images.get(name, (0, set()))
            if name in new:
                slots.add(slot)
                self.images[name] = (new[name], slots)
            else:
                slots.discard(slot)
                if not slots:
                    self.images.pop(name, None)
            self._image_was_changed(name)

    def _image_was_changed(self, name: str) -> None:
        if len(self.image_changed) >= _IMAGES:
            self.image_changed.clear()
            self.structure += 1
        # The change of the slot itself comes after this one, and takes the same number.
        self.image_changed[name] = self.version + 1


def _kept(memo: dict[Any, Any], key: Any, make: Callable[[], T]) -> T:
    found: T | None = memo.get(key)
    if found is None:
        if len(memo) >= _MEMO:
            memo.clear()
        found = memo[key] = make()
    return found


def _image_bytes(listed: Any) -> dict[str, int]:
    """By every name of every image of a node."""
    found: dict[str, int] = {}
    for image in parts({"images": listed}, "images"):
        size = whole(image, "sizeBytes") or 0
        for name in texts(image, "names"):
            found[with_tag(name)] = size
    return found
