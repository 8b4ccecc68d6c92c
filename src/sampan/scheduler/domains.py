"""Counting over topology domains: what PodTopologySpread and InterPodAffinity share. Pure array work.

Sums over domains are kept (``DomainSums``) and repaired where a node's pods changed. One event loop. Who asks names the
vector that is summed: it differs from what was seen before only at slots that ``NodeArrays`` counts as changed since.
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.arrays import Bools, Floats, Ids, NodeArrays

#: Changes that are repaired one by one; after more, all is summed anew.
_FEW = 64


def domain_ids(nodes: NodeArrays, key: str) -> Ids:
    """The domain of each slot under a topology key; 0 where the node has no such label."""
    column = nodes.labels.get(key)
    if column is None:
        return np.zeros(nodes.size, np.int32)
    return column.ids[: nodes.size]


def sum_by_domain(ids: Ids, values: Floats) -> Floats:
    """The sum of ``values`` over each domain; that of "no domain" is 0."""
    sums = np.bincount(ids, weights=values, minlength=int(ids.max(initial=0)) + 1).astype(np.float64, copy=False)
    sums[0] = 0
    return sums


class DomainSums:
    """Invariant: ``_sums[domain]`` is the sum of ``_here`` over the domain's eligible slots, and ``_here`` is what the
    vector held at the nodes' version ``_seen``."""

    __slots__ = ("_eligible", "_here", "_ids", "_key", "_layout", "_seen", "_sums")

    def __init__(self, key: str) -> None:
        self._key = key
        self._layout = self._seen = -1
        self._ids: Ids = np.zeros(0, np.int32)
        self._here: Ids = np.zeros(0, np.int32)
        self._sums: Floats = np.zeros(1)
        self._eligible: Bools | None = None

    def of(self, nodes: NodeArrays, vector: Floats, eligible: Bools | None) -> Floats:
        """``eligible``: which slots count, None for all; it may differ from last time's when the layout does."""
        if self._layout != nodes.layout or nodes.version - self._seen > _FEW:
            self._sum(nodes, vector, eligible)
        elif self._seen != nodes.version:
            self._repair(nodes, vector)
        self._seen = nodes.version
        return self._sums

    def _sum(self, nodes: NodeArrays, vector: Floats, eligible: Bools | None) -> None:
        self._layout, self._eligible = nodes.layout, eligible
        self._ids = domain_ids(nodes, self._key)
        self._here = vector.astype(np.int32)
        self._sums = sum_by_domain(self._ids, vector if eligible is None else vector * eligible)

    def _repair(self, nodes: NodeArrays, vector: Floats) -> None:
        here, ids, eligible, sums = self._here, self._ids, self._eligible, self._sums
        for slot in nodes.slots_since(self._seen):
            more = int(vector.item(slot)) - here.item(slot)
            if more:
                here[slot] += more
                domain = ids.item(slot)
                if domain and (eligible is None or eligible.item(slot)):
                    sums[domain] += more
