"""Processors of several NUMA nodes in equal parts (``distribute-cpus-across-numa``), where one node has not enough of
them. Pure. As the kubelet's ``takeByTopologyNUMADistributed``, which leaves the rest to packing where nothing is even.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from sampan.node.cpumanager import allocator
from sampan.node.processors import Cpus, Topology
from sampan.records import dataclass

Pack = Callable[[Cpus, int], Cpus]


@dataclass(frozen=True, slots=True)
class _Split:
    """``even`` processors of each of ``nodes``, and a group more of each of ``further``. ``balance``: how unequal what
    stays free is."""

    balance: int
    nodes: tuple[int, ...]
    even: int
    further: tuple[int, ...]


def take_evenly(topology: Topology, free: Cpus, count: int, group: int, pack: Pack) -> Cpus:
    """Exactly ``count`` of ``free``, in groups of ``group``. ``pack`` takes so many of some. Raises TooFew."""
    if count > len(free):
        raise allocator.TooFew(
            f"not enough cpus available to satisfy request: requested={count}, available={len(free)}"
        )
    if count % group or not count:
        return pack(free, count)
    by_node = topology.by_node(free)
    there = {node: len(cpus) for node, cpus in by_node.items()}
    for size in range(1, min(len(there), count // group) + 1):
        splits = [
            split for nodes in combinations(_in_order(there), size) for split in _splits(there, nodes, count, group)
        ]
        if not splits:
            continue
        best = min(splits, key=lambda split: split.balance)
        taken: Cpus = frozenset()
        for node in best.nodes:
            taken |= pack(by_node[node], best.even)
        for node in best.further:
            taken |= pack(by_node[node] - taken, group)
        return taken
    return pack(free, count)


def _in_order(there: Mapping[int, int]) -> list[int]:
    return sorted(there, key=lambda node: (there[node], node))


def _splits(there: Mapping[int, int], nodes: Sequence[int], count: int, group: int) -> list[_Split]:
    """Ways to take ``count`` of these nodes: as many of each, and what is left over in groups of some of them."""
    if sum(there[node] // group for node in nodes) * group < count:
        return []
    even = count // len(nodes) // group * group
    if any(there[node] < even for node in nodes):
        return []
    left = {node: number - (even if node in nodes else 0) for node, number in there.items()}
    over = (count - even * len(nodes)) // group
    if not over:
        return [_Split(_balance(left), tuple(nodes), even, ())]
    # Fewer groups are over than there are nodes: one of each is enough.
    able = [node for node in nodes if left[node] >= group]
    return [
        _Split(_balance({**left, **{node: left[node] - group for node in some}}), tuple(nodes), even, some)
        for some in combinations(able, over)
    ]


def _balance(left: Mapping[int, int]) -> int:
    """Of the same sum, the squares of equal parts are the least: they order as the kubelet's standard deviations do."""
    return sum(number * number for number in left.values())
