"""Counting over topology domains: what PodTopologySpread and InterPodAffinity share. Pure array work."""

from __future__ import annotations

import numpy as np

from sampan.scheduler.arrays import Floats, Ids, NodeArrays


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


def on_each(ids: Ids, values: Floats) -> Floats:
    """For each slot the sum over its domain."""
    found: Floats = sum_by_domain(ids, values)[ids]
    return found
