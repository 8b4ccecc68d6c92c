"""Topology hints: on which NUMA nodes a resource can be given, and the merging of several resources' hints. Pure.

A set of NUMA nodes is an integer, a bit a node. What is best of the merged hints does not depend on their order, so
they are merged as sets, where the kubelet (``topologymanager/policy.go``) goes through all permutations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from sampan.node.numa import Cell

Mask = int


class Hint(NamedTuple):
    """``affinity`` None: anywhere. ``preferred``: it takes no more NUMA nodes than such a request needs."""

    affinity: Mask | None
    preferred: bool


#: By resource. None: no preference; empty: it cannot be given at all.
Hints = Mapping[str, Sequence[Hint] | None]
ANYWHERE, NOWHERE = Hint(None, True), Hint(None, False)


def mask_of(nodes: Iterable[int]) -> Mask:
    mask = 0
    for node in nodes:
        mask |= 1 << node
    return mask


def nodes_of(mask: Mask) -> tuple[int, ...]:
    return tuple(node for node in range(mask.bit_length()) if mask >> node & 1)


def masks(nodes: Sequence[int]) -> Iterator[Mask]:
    """Every set of ``nodes`` but the empty one, the smaller ones first."""
    for size in range(1, len(nodes) + 1):
        for chosen in combinations(nodes, size):
            yield mask_of(chosen)


def with_smallest_preferred(found: Iterable[Mask], smallest: int) -> list[Hint]:
    return [Hint(mask, mask.bit_count() == smallest) for mask in found]


Rank = Callable[[Mask], Any]


def narrowest(mask: Mask) -> tuple[int, Mask]:
    """Fewer NUMA nodes first, then those of lower numbers."""
    return mask.bit_count(), mask


def closest(cells: Sequence[Cell]) -> Rank:
    """Fewer NUMA nodes first, then those that are nearer to each other on average."""
    by_id = {cell.id: cell for cell in cells}

    def rank(mask: Mask) -> tuple[int, float, Mask]:
        nodes = nodes_of(mask)
        total = sum(by_id[one].distance(other) for one in nodes for other in nodes)
        return len(nodes), total / len(nodes) ** 2, mask

    return rank


def resources(offers: Iterable[Hints]) -> list[Sequence[Hint]]:
    """Each resource's hints, of all providers; one that has nothing to say of a container can give it anywhere."""
    found: list[Sequence[Hint]] = []
    for hints in offers:
        if not hints:
            found.append((ANYWHERE,))
        for each in hints.values():
            found.append((ANYWHERE,) if each is None else each or (NOWHERE,))
    return found


def merge(everywhere: Mask, wishes: Sequence[Sequence[Hint]], rank: Rank = narrowest) -> Hint:
    """The best that fits them all. A preferred one is where all agree, each with a preferred hint; else it has
    preferably as many NUMA nodes as the greediest of them needs, rather fewer than more."""
    if not all(wishes):
        return Hint(everywhere, False)
    agreed = _agreed(everywhere, wishes)
    if agreed:
        return Hint(min(agreed, key=rank), True)
    merged = {everywhere}
    for hints in wishes:
        affinities = {everywhere if hint.affinity is None else hint.affinity for hint in hints}
        merged = {mask & affinity for mask in merged for affinity in affinities}
    merged.discard(0)
    enough = _needed(wishes)
    return Hint(min(merged, key=lambda mask: (*_away(mask.bit_count(), enough), rank(mask)), default=everywhere), False)


def _agreed(everywhere: Mask, wishes: Iterable[Sequence[Hint]]) -> set[Mask]:
    """Where all that mind would be, each by a preferred hint. None: nobody minds yet."""
    agreed: set[Mask | None] = {None}
    for hints in wishes:
        preferred = {hint.affinity for hint in hints if hint.preferred}
        both = {mask for mask in agreed if mask in preferred or None in preferred}
        agreed = both | preferred if None in agreed else both
    found = {everywhere if mask is None else mask for mask in agreed}
    return found - {0}


def _needed(wishes: Iterable[Sequence[Hint]]) -> int:
    """The most of what each needs at least."""
    needs = (min((h.affinity.bit_count() for h in hints if h.affinity is not None), default=0) for hints in wishes)
    return max(needs, default=0)


def _away(count: int, enough: int) -> tuple[int, int]:
    if count <= enough:
        return 0, enough - count
    return 1, 0
