"""NodeResourcesFit and NodeResourcesBalancedAllocation: room for the pod's requests, and how well it would sit.

Scores are whole numbers as upstream's, with its integer divisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sampan.records import dataclass
from sampan.scheduler.arrays import CPU, MEMORY, PODS, At, Bools, Floats, Ids, Ints, NodeArrays
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import MAX_NODE_SCORE, Code, CycleState, Verdicts
from sampan.scheduler.plugins.base import LocalFilter, LocalScore
from sampan.scheduler.podinfo import PodInfo

Strategy = Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]
DEFAULT_SHAPE: tuple[tuple[int, int], ...] = ((0, 0), (100, 10))
_BY_DEFAULT: tuple[tuple[str, int], ...] = (("cpu", 1), ("memory", 1))


@dataclass(frozen=True, slots=True)
class ScoringStrategy:
    """``shape``: (utilization 0-100, score 0-10) points in order, for RequestedToCapacityRatio."""

    type: Strategy = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = _BY_DEFAULT
    shape: tuple[tuple[int, int], ...] = DEFAULT_SHAPE


class NodeResourcesFit(LocalFilter, LocalScore):
    name = "NodeResourcesFit"

    def __init__(
        self, strategy: ScoringStrategy | None = None, ignored: Sequence[str] = (), groups: Sequence[str] = ()
    ) -> None:
        """``ignored``: extended resources whose amounts do not matter; ``groups``: all with such a prefix."""
        self._strategy = strategy or ScoringStrategy()
        self._ignored, self._groups = frozenset(ignored), frozenset(groups)

    def _is_ignored(self, resource: str) -> bool:
        return resource in self._ignored or (bool(self._groups) and resource.partition("/")[0] in self._groups)

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        # A resource that no node knows has no row: what pods ask for must not make the arrays grow.
        wanted = [(n, nodes.resources.get(n), v) for n, v in pod.requests.items() if not self._is_ignored(n)]
        slot = nodes.only(at)
        if slot is not None:
            return self._filter_one(cluster, wanted, slot)
        # Bit i of ``short``: resource i is insufficient now; of ``never``: even on the empty node.
        short = np.zeros(nodes.length(at), np.int64)
        never = np.zeros(nodes.length(at), np.bool_)
        for bit, (_, row, value) in enumerate(wanted):
            if row is None:
                short |= 1 << bit
                never[:] = True
                continue
            allocatable = nodes.allocatable[row, at]
            lacking = allocatable - nodes.requested[row, at] < value
            if not lacking.any():
                continue
            short |= lacking.astype(np.int64) << bit
            if row != PODS:
                never |= allocatable < value
        if not short.any():
            return None
        combined = short << 1 | (never & (short != 0))
        names = [name for name, _, _ in wanted]
        result = np.zeros(len(combined), np.int32)
        wrong = np.flatnonzero(combined)
        kinds, inverse = np.unique(combined[wrong], return_inverse=True)
        result[wrong] = np.array([self._verdict(cluster, names, int(kind)) for kind in kinds], np.int32)[inverse]
        return result

    def _filter_one(self, cluster: Cluster, wanted: list[tuple[str, int | None, int]], slot: int) -> Ids | None:
        nodes, combined = cluster.nodes, 0
        for bit, (_, row, value) in enumerate(wanted):
            if row is None:
                combined |= 2 << bit | 1
                continue
            allocatable = nodes.allocatable.item(row, slot)
            if allocatable - nodes.requested.item(row, slot) < value:
                combined |= 2 << bit
                combined |= row != PODS and allocatable < value
        if not combined:
            return None
        return np.array([self._verdict(cluster, [name for name, _, _ in wanted], combined)], np.int32)

    def filter_slot(self, state: CycleState, pod: PodInfo, cluster: Cluster, slot: int) -> int:
        nodes = cluster.nodes
        allocatable, requested, resources = nodes.allocatable, nodes.requested, nodes.resources
        for name, value in pod.shape.requests.items():
            row = resources.get(name)
            if row is None or allocatable.item(row, slot) - requested.item(row, slot) < value:
                found = self.filter(state, pod, cluster, np.array([slot]))
                return Verdicts.PASS if found is None else int(found[0])
        return Verdicts.PASS

    def lack(self, pod: PodInfo, cluster: Cluster, slot: int) -> dict[str, int] | None:
        """How much of each resource that the pod asks for would have to become free on a node, below zero what is left
        over; None: it cannot, the node does not have so much."""
        nodes = cluster.nodes
        found = {}
        for name, value in pod.shape.requests.items():
            if self._is_ignored(name):
                continue
            row = nodes.resources.get(name)
            if row is None or nodes.allocatable.item(row, slot) < value:
                return None
            found[name] = value - nodes.allocatable.item(row, slot) + nodes.requested.item(row, slot)
        return found

    def score_slot(self, state: CycleState, pod: PodInfo, cluster: Cluster, slot: int) -> float:
        if self._strategy.type == "LeastAllocated":
            return self._least_allocated_at(cluster.nodes, pod, slot)
        return self.score(state, pod, cluster, np.array([slot])).item()

    def _verdict(self, cluster: Cluster, names: list[str], combined: int) -> int:
        if combined == 0:
            return Verdicts.PASS
        reasons = [_reason(name) for bit, name in enumerate(names) if combined >> (bit + 1) & 1]
        code = Code.UNRESOLVABLE if combined & 1 else Code.UNSCHEDULABLE
        return cluster.verdicts.id(self.name, code, *reasons)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        nodes = cluster.nodes
        slot = nodes.only(at)
        if slot is not None and self._strategy.type == "LeastAllocated":
            return np.array([self._least_allocated_at(nodes, pod, slot)])
        if self._strategy.type == "LeastAllocated" and (quick := self._least_allocated(nodes, pod, at)) is not None:
            return quick
        total = np.zeros(nodes.length(at), np.int64)
        weights = np.zeros(nodes.length(at), np.int64)
        for resource, weight in self._strategy.resources:
            row = nodes.row(resource)
            allocatable = nodes.allocatable[row, at]
            requested = _requested_with(nodes, row, resource, pod, at)
            offered = allocatable > 0
            total += np.where(offered, self._of(requested, allocatable, offered) * weight, 0)
            weights += np.where(offered, weight, 0)
        result: Floats = np.floor_divide(total, np.maximum(weights, 1)).astype(np.float64)
        return result

    def _least_allocated(self, nodes: NodeArrays, pod: PodInfo, at: At) -> Floats | None:
        """In floating point, where every node offers every resource; None: not here."""
        offers = [nodes.capacity_of(resource) for resource, _ in self._strategy.resources]
        if not all(offer.everywhere and offer.largest < _EXACT for offer in offers):
            return None
        total: Floats = np.zeros(nodes.length(at))
        for (resource, weight), offer in zip(self._strategy.resources, offers, strict=True):
            capacity = offer.amounts[at]
            left = capacity - _requested_with(nodes, nodes.row(resource), resource, pod, at)
            np.maximum(left, 0.0, out=left)
            left *= float(MAX_NODE_SCORE)
            left /= capacity
            np.floor(left, out=left)
            total += left if weight == 1 else left * weight
        total /= max(sum(weight for _, weight in self._strategy.resources), 1)
        return np.floor(total, out=total)

    def _least_allocated_at(self, nodes: NodeArrays, pod: PodInfo, slot: int) -> float:
        total = weights = 0
        for resource, weight in self._strategy.resources:
            row = nodes.row(resource)
            allocatable = nodes.allocatable.item(row, slot)
            if allocatable <= 0:
                continue
            if row in (CPU, MEMORY):
                requested = nodes.nonzero.item(row, slot) + pod.nonzero[row]
            else:
                requested = nodes.requested.item(row, slot) + pod.requests.get(resource, 0)
            total += max(allocatable - requested, 0) * MAX_NODE_SCORE // allocatable * weight
            weights += weight
        return float(total // max(weights, 1))

    def _of(self, requested: Ints, allocatable: Ints, offered: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
        capacity = np.maximum(allocatable, 1)
        match self._strategy.type:
            case "LeastAllocated":
                return _percent_of(allocatable - np.minimum(requested, allocatable), capacity)
            case "MostAllocated":
                return _percent_of(np.minimum(requested, allocatable), capacity)
            case "RequestedToCapacityRatio":
                percent = np.where(requested > allocatable, 100, requested * 100 // capacity)
                points = np.array(self._strategy.shape, np.float64)
                # Shape scores are 0 to 10, node scores 0 to 100.
                return np.trunc(np.interp(percent, points[:, 0], points[:, 1] * 10)).astype(np.int64)


def _reason(resource: str) -> str:
    return "Too many pods" if resource == "pods" else f"Insufficient {resource}"


def _requested_with(nodes: NodeArrays, row: int, resource: str, pod: PodInfo, at: At) -> Ints:
    """What the node would hold; for cpu and memory with the defaults of containers that ask for nothing."""
    if row in (CPU, MEMORY):
        found: Ints = nodes.nonzero[row, at] + pod.nonzero[row]
    else:
        found = nodes.requested[row, at] + pod.requests.get(resource, 0)
    return found


#: Of amounts below this the quotient in floating point, cut off, is that of whole numbers: it is off by less than the
#: distance of any two quotients.
_EXACT = 2**43


def _percent_of(amounts: Ints, capacity: Ints) -> Ints:
    """``amounts * 100 // capacity``; dividing whole numbers takes several times as long."""
    if capacity.max(initial=0) < _EXACT:
        return (amounts * float(MAX_NODE_SCORE) / capacity).astype(np.int64)
    found: Ints = amounts * MAX_NODE_SCORE // capacity
    return found


class NodeResourcesBalancedAllocation(LocalScore):
    """How much better balanced the node's resources are with the pod than without it."""

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, resources: Sequence[str] = ("cpu", "memory")) -> None:
        self._resources = tuple(resources)

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        """Skipped for best-effort pods, or they would all sit on one node (kubernetes issue 129138)."""
        return any(pod.requests.get(resource) for resource in self._resources)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        nodes = cluster.nodes
        rows = [nodes.row(resource) for resource in self._resources]
        slot = nodes.only(at)
        if slot is not None and len(rows) == 2:
            return np.array([self._change_of_two(nodes, pod, rows, slot)])
        without = nodes.followed((self.name, self._resources), lambda at: self._balance(nodes, None, at))[at]
        change = _change_of_balance(without, self._balance(nodes, pod, at))
        result: Floats = change.astype(np.float64)
        return result

    def _balance(self, nodes: NodeArrays, pod: PodInfo | None, at: At) -> Ints:
        """With the pod, or as it is."""
        wanted = [pod.requests.get(resource, 0) if pod is not None else 0 for resource in self._resources]
        rows = [nodes.row(resource) for resource in self._resources]
        if len(rows) == 2:
            offers = [nodes.capacity_of(resource) for resource in self._resources]
            both = None if all(offer.everywhere for offer in offers) else (offers[0].offered & offers[1].offered)[at]
            shares = [
                _share(nodes.requested[row, at], value, offer.amounts[at])
                for row, value, offer in zip(rows, wanted, offers, strict=True)
            ]
            return _balance_of_pairs(shares[0], shares[1], both)
        allocatable = np.stack([nodes.allocatable[row, at] for row in rows])
        held = np.stack([nodes.requested[row, at] for row in rows])
        return _balance(held + np.array(wanted).reshape(-1, 1), allocatable)

    def score_slot(self, state: CycleState, pod: PodInfo, cluster: Cluster, slot: int) -> float:
        nodes = cluster.nodes
        if len(self._resources) == 2:
            return self._change_of_two(nodes, pod, [nodes.row(resource) for resource in self._resources], slot)
        return self.score(state, pod, cluster, np.array([slot])).item()

    def _change_of_two(self, nodes: NodeArrays, pod: PodInfo, rows: list[int], slot: int) -> float:
        without, including = [], []
        for resource, row in zip(self._resources, rows, strict=True):
            allocatable = nodes.allocatable.item(row, slot)
            if allocatable > 0:
                requested = nodes.requested.item(row, slot)
                without.append(min(requested / allocatable, 1.0))
                including.append(min((requested + pod.requests.get(resource, 0)) / allocatable, 1.0))
        return float(_change_of_balance(_balance_of_two(without), _balance_of_two(including)))


def _balance_of_two(fractions: Sequence[float]) -> int:
    deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
    return int((1 - deviation) * MAX_NODE_SCORE)


def _share(held: Ints, more: int, capacity: Floats) -> Floats:
    share: Floats = (held + more if more else held) / capacity
    return np.minimum(share, 1.0, out=share)


def _balance_of_pairs(first: Floats, second: Floats, both: Bools | None) -> Ints:
    """Upstream's short form for two resources, so that rounding agrees too; ``both``: where both are offered, None
    everywhere."""
    apart = np.abs(first - second)
    apart /= 2
    if both is not None:
        apart[~both] = 0.0
    np.subtract(1, apart, out=apart)
    apart *= MAX_NODE_SCORE
    found: Ints = apart.astype(np.int64)
    return found


def _balance(requested: Ints, allocatable: Ints) -> Ints:
    """One less the standard deviation of what is in use of each resource, of a hundred. Both are resource × slot."""
    offered = allocatable > 0
    fractions = np.where(offered, np.minimum(requested / np.maximum(allocatable, 1), 1.0), 0.0)
    count = np.maximum(offered.sum(axis=0), 1)
    mean = fractions.sum(axis=0) / count
    deviation = np.sqrt((np.where(offered, fractions - mean, 0.0) ** 2).sum(axis=0) / count)
    found: Ints = ((1 - deviation) * MAX_NODE_SCORE).astype(np.int64)
    return found


def _change_of_balance(without: Any, including: Any) -> Any:
    """50 to 100, and 75 where the pod changes nothing (kubernetes pull request 135573)."""
    half = MAX_NODE_SCORE // 2
    return half + (half + including - without >> 1)  # rounded down, below zero too
