"""NodeAffinity: nodeSelector, required and preferred node affinity, and the profile's ``addedAffinity``."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sampan.api.nodes import affinity
from sampan.api.nodes.affinity import Required, Term
from sampan.api.types import Obj
from sampan.scheduler.arrays import At, Bools, Floats, Ids, NodeArrays
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Status, default_normalize
from sampan.scheduler.plugins.base import LocalFilter, LocalScore
from sampan.scheduler.podinfo import PodInfo

_NOT_MATCHED = "node(s) didn't match Pod's node affinity/selector"
_NOT_ADDED = "node(s) didn't match scheduler-enforced node affinity"


def match_term(nodes: NodeArrays, term: Term, at: At) -> Bools:
    matched = np.ones(nodes.length(at), np.bool_)
    for requirement in term.requirements:
        matched &= nodes.where_label(requirement.key, requirement.test, at)
    for test in term.fields:
        if test.key == "metadata.name":
            named = nodes.where_name({test.value}, at)
            matched &= ~named if test.negated else named
        elif not test.matches(""):
            matched[:] = False
    return matched


def match_required(nodes: NodeArrays, wanted: Required, at: At) -> Bools | None:
    """The nodes that selector and required affinity allow; None when there is neither."""
    if wanted.asks_nothing:
        return None
    matched = np.ones(nodes.length(at), np.bool_)
    for requirement in wanted.selector.requirements:
        matched &= nodes.where_label(requirement.key, requirement.test, at)
    if wanted.terms is not None:
        matched &= match_any(nodes, wanted.terms, at)
    return matched


def match_any(nodes: NodeArrays, terms: Iterable[Term], at: At) -> Bools:
    matched = np.zeros(nodes.length(at), np.bool_)
    for term in terms:
        matched |= match_term(nodes, term, at)
    return matched


class NodeAffinity(LocalFilter, LocalScore):
    name = "NodeAffinity"
    usage = False
    normalized = True

    def __init__(self, added_affinity: Obj | None = None) -> None:
        self._added = affinity.required({}, added_affinity or {})
        self._added_preferred = tuple(affinity.preferred(added_affinity or {}))

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        if affinity.required_of(pod.obj).asks_nothing and self._added.asks_nothing:
            return SKIP
        names = affinity.named_nodes(affinity.node_affinity(pod.obj))
        if names is not None and not names:
            reason = "pod affinity terms conflict"
            return Status(Code.UNRESOLVABLE, (reason,), self.name)
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        found = np.zeros(nodes.length(at), np.int32)
        matched = match_required(nodes, affinity.required_of(pod.obj), at)
        if matched is not None:
            found[~matched] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _NOT_MATCHED)
        allowed = match_required(nodes, self._added, at)
        if allowed is not None:
            found[~allowed] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _NOT_ADDED)
        names = affinity.named_nodes(affinity.node_affinity(pod.obj))
        if names is not None:
            absent = f"node(s) didn't satisfy plugin(s) [{self.name}]"
            found[~nodes.where_name(names, at)] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, absent)
        return found

    def _preferred(self, pod: PodInfo) -> list[tuple[int, Term]]:
        return [*affinity.preferred(affinity.node_affinity(pod.obj)), *self._added_preferred]

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return bool(self._preferred(pod))

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        total = np.zeros(cluster.nodes.length(at))
        for weight, term in self._preferred(pod):
            total += match_term(cluster.nodes, term, at) * float(weight)
        return total

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        return default_normalize(scores)
