"""NodeAffinity: nodeSelector, required and preferred node affinity, and the profile's ``addedAffinity``."""

from __future__ import annotations

from typing import Any

import numpy as np

from sampan.api.labels import SelectorError, node_selector_term
from sampan.api.types import Obj
from sampan.scheduler.arrays import At, Bools, Floats, Ids, NodeArrays
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, VERDICTS, Code, CycleState, Status, default_normalize
from sampan.scheduler.plugins.base import LocalFilter, LocalScore
from sampan.scheduler.podinfo import PodInfo

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NOT_MATCHED = "node(s) didn't match Pod's node affinity/selector"
_NOT_ADDED = "node(s) didn't match scheduler-enforced node affinity"


def match_term(nodes: NodeArrays, term: Obj, at: At) -> Bools:
    """An empty term, and one that does not parse, match no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return np.zeros(nodes.length(at), np.bool_)
    matched = np.ones(nodes.length(at), np.bool_)
    try:
        requirements = node_selector_term(expressions).requirements
    except SelectorError:
        return np.zeros(nodes.length(at), np.bool_)
    for requirement in requirements:
        key = requirement.key
        matched &= nodes.where_label(
            key,
            lambda value, r=requirement, k=key: r.matches({k: value} if value is not None else {}),  # type: ignore[misc]  # defaults bind the loop's values
            at,
        )
    for field in fields:
        named = nodes.where_name(set(field.get("values") or ()), at)
        matched &= named if field.get("operator") == "In" else ~named
    return matched


def match_required(nodes: NodeArrays, pod: PodInfo, at: At) -> Bools | None:
    """Nodes that the pod's own selector and required affinity allow; None when it has neither."""
    matched: Bools | None = None
    for key, wanted in (pod.spec.get("nodeSelector") or {}).items():
        found = nodes.where_label(key, lambda value, w=wanted: value == w, at)  # type: ignore[misc]  # as above
        matched = found if matched is None else matched & found
    required = (pod.affinity.get("nodeAffinity") or {}).get(_REQUIRED)
    if required is not None:
        found = match_any(nodes, required.get("nodeSelectorTerms"), at)
        matched = found if matched is None else matched & found
    return matched


def match_any(nodes: NodeArrays, terms: Any, at: At) -> Bools:
    matched = np.zeros(nodes.length(at), np.bool_)
    for term in terms or ():
        matched |= match_term(nodes, term, at)
    return matched


def named_nodes(pod: PodInfo) -> set[str] | None:
    """The nodes that ``matchFields`` narrows the pod to, when every term names some: pods of DaemonSets."""
    terms = ((pod.affinity.get("nodeAffinity") or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()
    names: set[str] = set()
    for term in terms:
        chosen: set[str] | None = None
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In":
                values = set(field.get("values") or ())
                chosen = values if chosen is None else chosen & values
        if chosen is None:
            return None
        names |= chosen
    return names if terms else None


class NodeAffinity(LocalFilter, LocalScore):
    name = "NodeAffinity"
    normalized = True

    def __init__(self, added_affinity: Obj | None = None) -> None:
        self._added = added_affinity or {}

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        own = pod.spec.get("nodeSelector") or (pod.affinity.get("nodeAffinity") or {}).get(_REQUIRED) is not None
        if not own and not self._added.get(_REQUIRED):
            return SKIP
        names = named_nodes(pod)
        if names is not None and not names:
            reason = "pod affinity terms conflict"
            return Status(Code.UNRESOLVABLE, (reason,), self.name)
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        found = np.zeros(nodes.length(at), np.int32)
        matched = match_required(nodes, pod, at)
        if matched is not None:
            found[~matched] = VERDICTS.id(self.name, Code.UNRESOLVABLE, _NOT_MATCHED)
        added = self._added.get(_REQUIRED)
        if added is not None:
            allowed = match_any(nodes, added.get("nodeSelectorTerms"), at)
            found[~allowed] = VERDICTS.id(self.name, Code.UNRESOLVABLE, _NOT_ADDED)
        names = named_nodes(pod)
        if names is not None:
            absent = f"node(s) didn't satisfy plugin(s) [{self.name}]"
            found[~nodes.where_name(names, at)] = VERDICTS.id(self.name, Code.UNRESOLVABLE, absent)
        return found

    def _preferred(self, pod: PodInfo) -> list[Obj]:
        own = (pod.affinity.get("nodeAffinity") or {}).get(_PREFERRED) or ()
        return [*own, *(self._added.get(_PREFERRED) or ())]

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return bool(self._preferred(pod))

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        total = np.zeros(cluster.nodes.length(at))
        for item in self._preferred(pod):
            if item.get("weight"):
                total += match_term(cluster.nodes, item.get("preference") or {}, at) * float(item["weight"])
        return total

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        return default_normalize(scores)
