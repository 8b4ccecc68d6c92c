"""The nodes that can take a class of pods, in groups that are equal to every plug-in: one look at each group decides.

A node's group follows from its scores and from what plug-ins that look beyond one node see of it (``Facet``): its
domain, or how many pods of a kind it holds. That changes only with the slot itself, so the next pod of a template costs
a repair of the node that took the last one. Kept by ``profile.py``; one event loop.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sampan.records import dataclass
from sampan.scheduler.arrays import Bools, Floats, Ids, NodeArrays
from sampan.scheduler.domains import domain_ids
from sampan.scheduler.framework import Verdicts
from sampan.scheduler.podcounts import Counted

if TYPE_CHECKING:
    from sampan.scheduler.cache import Cluster
    from sampan.scheduler.podclass import PodClass

#: Topology keys of at most so many domains tell nodes apart by the domain itself.
DOMAINS = 32
#: With more groups than this a look at all nodes costs less.
GROUPS = 256
#: Decisions of a class before its nodes are put into groups: of most classes there is one pod.
BUILT_AFTER = 2
#: Changes that are repaired; who missed more begins anew.
_MISSED = 512

Slots: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"
#: what the nodes of a group have in common: their score, what is to be normalized, what plug-ins see
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Facet:
    """What a plug-in sees of a node: whether it has the label ``key``, and how many pods of a kind (if any) are in its
    domain, of ``eligible`` nodes; with an empty key, on the node itself. ``whole``: which domain it is matters too."""

    key: str
    counted: Counted | None = None
    eligible: Bools | None = field(default=None, compare=False, repr=False)
    eligible_key: Hashable = None
    whole: bool = False


class Group:
    """``slots`` is never empty while the group is among its fellows."""

    __slots__ = ("key", "slots")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.slots: list[int] = []


class _Column:
    """What a facet says of each slot, as a number. Labels and who is eligible hold as long as the layout."""

    __slots__ = ("_counted", "_eligible", "_ids", "_vector")

    def __init__(self, nodes: NodeArrays, facet: Facet) -> None:
        by_domain = bool(facet.key) and _domains(nodes, facet.key) <= DOMAINS
        self._ids: Ids | None = domain_ids(nodes, facet.key) if facet.key else None
        self._counted = None if by_domain else facet.counted
        self._eligible = facet.eligible
        if self._ids is not None and self._counted is None and not by_domain:
            self._ids = (self._ids > 0).astype(np.int32)
        self._vector: Floats | None = None

    def look(self, cluster: Cluster) -> None:
        if self._counted is not None:
            self._vector = cluster.counts.of_any(self._counted)

    def at(self, slot: int) -> float:
        vector = self._vector
        if vector is None:
            assert self._ids is not None
            return self._ids.item(slot)
        if self._ids is not None and not self._ids.item(slot):
            return -1.0
        return vector.item(slot) if self._eligible is None or self._eligible.item(slot) else 0.0

    def over(self, slots: Slots) -> list[float]:
        vector = self._vector
        if vector is None:
            assert self._ids is not None
            domains: list[float] = self._ids[slots].tolist()
            return domains
        here: Floats = vector[slots] if self._eligible is None else vector[slots] * self._eligible[slots]
        if self._ids is not None:
            here = np.where(self._ids[slots] > 0, here, -1.0)
        found: list[float] = here.tolist()
        return found


def can_group(nodes: NodeArrays, facets: Sequence[Facet]) -> bool:
    """Whether a node's group follows from the node alone: of a key with many domains each must have one node, and only
    what is in it may matter."""
    return all(
        not facet.key
        or _domains(nodes, facet.key) <= DOMAINS
        or facet.counted is None
        or (not facet.whole and _is_single(nodes, facet.key))
        for facet in facets
    )


def _domains(nodes: NodeArrays, key: str) -> int:
    column = nodes.labels.get(key)
    return 0 if column is None else len(column.values) - 1


def _is_single(nodes: NodeArrays, key: str) -> bool:
    """Whether no two nodes are in one domain."""
    most = nodes.remembered_of_layout(("most", key), lambda: 1 + _most(domain_ids(nodes, key)))
    return most <= 2


def _most(ids: Ids) -> int:
    return int(np.bincount(ids, minlength=2)[1:].max())


class NodeGroups:
    """Invariants, once built and after ``ready``: each slot that passes the class's own filters is in exactly one
    group, at ``_place`` of its slots; no group is empty."""

    def __init__(self) -> None:
        self.groups: dict[Key, Group] = {}
        self._found: PodClass | None = None
        self._layout = self._seen = -1
        self._asked = 0
        self._columns: list[_Column] = []
        self._raws: list[Floats] = []
        self._of: list[Group | None] = []
        self._place: list[int] = []

    def ready(
        self, found: PodClass, cluster: Cluster, facets: Sequence[Facet] = (), built_after: int = BUILT_AFTER
    ) -> bool:
        """Brings the groups up to date with the class, which is; False: they are not worth it now. ``facets`` are those
        of last time, with who is eligible now."""
        nodes = cluster.nodes
        if self._found is not found or self._layout != nodes.layout or nodes.version - self._seen > _MISSED:
            self.groups, self._of, self._place = {}, [], []
            self._found, self._layout, self._asked = found, nodes.layout, 0
        self._asked += 1
        if self._asked <= built_after:
            self._seen = nodes.version
            return False
        for column in self._columns if self._of else ():
            column.look(cluster)
        if not self._of:
            self._build(found, cluster, facets)
        elif self._seen != nodes.version:
            for slot in nodes.slots_since(self._seen):
                self._file(found, slot)
        self._seen = nodes.version
        return len(self.groups) <= GROUPS

    def check_invariants(self) -> None:
        for key, group in self.groups.items():
            assert group.slots and group.key == key, "a group is empty or misnamed"
            assert all(self._of[slot] is group for slot in group.slots), "a slot is in two groups"
            assert [self._place[slot] for slot in group.slots] == list(range(len(group.slots))), "a place is wrong"

    def _build(self, found: PodClass, cluster: Cluster, facets: Sequence[Facet]) -> None:
        nodes = cluster.nodes
        self._columns = [_Column(nodes, facet) for facet in facets]
        self._raws = [found.raw[scorer.name] for scorer, _ in found.normalized]
        for column in self._columns:
            column.look(cluster)
        self._of, self._place = [None] * nodes.size, [0] * nodes.size
        slots = np.flatnonzero(found.verdicts[: nodes.size] == Verdicts.PASS)
        said = [found.total[slots].tolist(), *(raw[slots].tolist() for raw in self._raws)]
        said += [column.over(slots) for column in self._columns]
        for slot, key in zip(slots.tolist(), zip(*said, strict=True), strict=True):
            self._put(slot, key)

    def _file(self, found: PodClass, slot: int) -> None:
        held = self._of[slot]
        if found.verdicts.item(slot) != Verdicts.PASS:
            if held is not None:
                self._take(slot, held)
            return
        key: Key = (found.total.item(slot),)
        if self._raws:
            key += tuple([raw.item(slot) for raw in self._raws])
        if self._columns:
            key += tuple([column.at(slot) for column in self._columns])
        if held is not None:
            if held.key == key:
                return
            self._take(slot, held)
        self._put(slot, key)

    def _put(self, slot: int, key: Key) -> None:
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(key)
        self._of[slot], self._place[slot] = group, len(group.slots)
        group.slots.append(slot)

    def _take(self, slot: int, group: Group) -> None:
        """The last one takes its place."""
        slots, place = group.slots, self._place[slot]
        last = slots.pop()
        if last != slot:
            slots[place] = last
            self._place[last] = place
        elif not slots:
            del self.groups[group.key]
        self._of[slot] = None
