"""PodTopologySpread: pods of a kind in even numbers over domains, as a rule or as a wish.

A pod without constraints gets the system's default wishes (zones, hosts) when a Service or its owner selects it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import field, replace

import numpy as np
from numpy.typing import NDArray

from sampan.api import labels
from sampan.api.labels import Selector
from sampan.api.nodes import affinity
from sampan.api.nodes.status import HOSTNAME, ZONE
from sampan.api.pods import tolerations
from sampan.api.reading import parts, text, texts, whole
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.affinity import with_label_keys
from sampan.scheduler.arrays import At, Bools, Floats, Ids, Taint
from sampan.scheduler.cache import Cluster
from sampan.scheduler.domains import domain_ids
from sampan.scheduler.framework import MAX_NODE_SCORE, SKIP, SUCCESS, Code, CycleState, Event, Status, Verdicts
from sampan.scheduler.nodegroups import Facet
from sampan.scheduler.plugins.nodeaffinity import match_required
from sampan.scheduler.podcounts import Interest
from sampan.scheduler.podinfo import PodInfo

_SKEWED = "node(s) didn't match pod topology spread constraints"
_UNLABELLED = "node(s) didn't match pod topology spread constraints (missing required label)"
#: (topology key, maxSkew) of the system's defaults.
_SYSTEM_DEFAULTS = ((HOSTNAME, 3), (ZONE, 5))


@dataclass(frozen=True, slots=True)
class Constraint:
    topology_key: str
    max_skew: int
    selector: Selector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False
    #: who is counted, by the namespace of the pods
    interests: dict[str, Interest] = field(default_factory=dict, compare=False, repr=False)


def constraints_of(pod: PodInfo, action: str) -> tuple[Constraint, ...]:
    """Those with this ``whenUnsatisfiable``, parsed once a pod."""
    if not pod.spec.get("topologySpreadConstraints"):
        return ()
    key = (action, pod.company)
    found = _kept.get(key)
    if found is None:
        listed = parts(pod.spec, "topologySpreadConstraints")
        found = tuple(_parse(pod, item) for item in listed if item.get("whenUnsatisfiable") == action)
        if len(pod.company) <= _KEY_BYTES:
            if len(_kept) >= _KEPT:
                _kept.clear()
            _kept[key] = found
    return found


#: Constraints by what they follow from, a function's memory: pods of one template share them.
_kept: dict[tuple[str, bytes], tuple[Constraint, ...]] = {}
_KEPT, _KEY_BYTES = 1024, 4096


def _parse(pod: PodInfo, item: Obj) -> Constraint:
    selector = labels.from_label_selector(item.get("labelSelector"))
    return Constraint(
        text(item, "topologyKey"),
        whole(item, "maxSkew") or 1,
        with_label_keys(selector, pod.labels, texts(item, "matchLabelKeys"), labels.IN),
        whole(item, "minDomains") or 1,
        item.get("nodeAffinityPolicy", "Honor") == "Honor",
        item.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


class PodTopologySpread:
    name = "PodTopologySpread"
    local = False
    normalized = True
    wakes = frozenset((Event.POD_ADD, Event.POD_UPDATE, Event.POD_DELETE, Event.NODE_ADD, Event.NODE_UPDATE))

    def __init__(self, *, system_defaults: bool = True, defaults: Sequence[Obj] = ()) -> None:
        """``defaults``: in place of the system's, constraints without selectors, rules among them."""
        self._system_defaults = system_defaults
        self._default_rules = tuple(item for item in defaults if item.get("whenUnsatisfiable") == "DoNotSchedule")
        self._default_wishes = tuple(item for item in defaults if item.get("whenUnsatisfiable") == "ScheduleAnyway")

    def _rules(self, pod: PodInfo, cluster: Cluster) -> tuple[Constraint, ...]:
        if self._default_rules and not pod.spec.get("topologySpreadConstraints"):
            return _defaults(self._default_rules, pod, cluster)
        return constraints_of(pod, "DoNotSchedule")

    def hint(self, pod: PodInfo, event: Event, changed: PodInfo | None, cluster: Cluster) -> bool:
        """A pod that comes may raise the least-used domain, one that goes may leave the fullest."""
        if changed is None or event is Event.POD_UPDATE:
            return True
        if changed.namespace != pod.namespace:
            return False
        return any(c.selector.matches(changed.labels) for c in self._rules(pod, cluster))

    # Filter

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        return SUCCESS if self._rules(pod, cluster) else SKIP

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        constraints = self._rules(pod, cluster)
        found = np.zeros(nodes.length(at), np.int32)
        keys = _keys(constraints)
        for constraint in constraints:
            here = domain_ids(nodes, constraint.topology_key)[at]
            counted = _counted(cluster, pod, constraint, keys)
            counts = _sums(cluster, pod, constraint, counted)
            domains = counted.domains
            lowest = counts[domains].min() if len(domains) else np.inf
            if len(domains) < constraint.min_domains:
                lowest = 0
            own = constraint.selector.matches(pod.labels)
            skewed = counts[here] + own - lowest > constraint.max_skew
            free = found == Verdicts.PASS
            found[free & skewed] = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _SKEWED)
            found[free & (here == 0)] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _UNLABELLED)
        return found

    def filter_looks_at(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> list[Facet]:
        constraints = self._rules(pod, cluster)
        keys = _keys(constraints)
        return [_facet(cluster, pod, constraint, keys) for constraint in constraints]

    # Score

    def _wishes(self, pod: PodInfo, cluster: Cluster) -> tuple[tuple[Constraint, ...], bool]:
        """The constraints to score by, and whether a node must have all their labels."""
        if pod.spec.get("topologySpreadConstraints"):
            return constraints_of(pod, "ScheduleAnyway"), True
        if not self._system_defaults:
            return _defaults(self._default_wishes, pod, cluster), True
        selector = cluster.default_selector(pod)
        if selector is None:
            return (), False
        return tuple(Constraint(key, skew, selector) for key, skew in _SYSTEM_DEFAULTS), False

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        wishes, strict = self._wishes(pod, cluster)
        state.data[self.name] = wishes, strict
        return bool(wishes)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        """``at`` are the feasible nodes, or one for each kind of them (``CycleState.nodes_at``)."""
        nodes = cluster.nodes
        constraints, strict = state.data[self.name]
        keys = _keys(constraints) if strict else ()
        counted = _labelled(cluster, keys)[at]
        state.data[f"{self.name}/ignored"] = ~counted
        total = np.zeros(len(counted))
        for constraint in constraints:
            here = domain_ids(nodes, constraint.topology_key)[at]
            if constraint.topology_key == HOSTNAME:
                size = int(counted.sum() if state.nodes_at is None else state.nodes_at[counted].sum())
                counts = cluster.counts.of(_interest(pod, constraint))[at]
            else:
                size = int(np.count_nonzero(np.bincount(here[counted])[1:]))
                counts = _sums(cluster, pod, constraint, _counted(cluster, pod, constraint, keys))[here]
            wish = counts * np.log(size + 2) + (constraint.max_skew - 1)
            total += np.where(here > 0, wish, 0)
        rounded: Floats = np.where(counted, np.floor(total + 0.5), 0)
        return rounded

    def score_looks_at(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> list[Facet]:
        constraints, strict = state.data[self.name]
        keys = _keys(constraints) if strict else ()
        found = []
        for constraint in constraints:
            if constraint.topology_key == HOSTNAME:
                found += [Facet("", _interest(pod, constraint)), Facet(HOSTNAME)]
            else:
                found.append(replace(_facet(cluster, pod, constraint, keys), whole=True))
        return found

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        ignored: Bools = state.data[f"{self.name}/ignored"]
        if ignored.all():
            return np.zeros(len(scores))
        lowest, highest = scores[~ignored].min(), scores[~ignored].max()
        if highest == 0:
            found: Floats = np.full(len(scores), float(MAX_NODE_SCORE))
        else:
            found = np.floor(MAX_NODE_SCORE * (highest + lowest - scores) / highest)
        found[ignored] = 0
        return found


def _defaults(items: Sequence[Obj], pod: PodInfo, cluster: Cluster) -> tuple[Constraint, ...]:
    """None for a pod that nothing selects."""
    selector = cluster.default_selector(pod) if items else None
    if selector is None:
        return ()
    return tuple(replace(_parse(pod, item), selector=selector) for item in items)


def _keys(constraints: Sequence[Constraint]) -> tuple[str, ...]:
    return tuple(constraint.topology_key for constraint in constraints)


def _labelled(cluster: Cluster, keys: tuple[str, ...]) -> Bools:
    """Nodes with all of these labels. Not to be changed: it is kept."""
    return cluster.nodes.remembered_of_layout(("labelled", keys), lambda: _find_labelled(cluster, keys))


def _find_labelled(cluster: Cluster, keys: Sequence[str]) -> Bools:
    found = cluster.nodes.present[: cluster.nodes.size].copy()
    for key in keys:
        found &= domain_ids(cluster.nodes, key) > 0
    return found


def _interest(pod: PodInfo, constraint: Constraint) -> Interest:
    """Made once for the pods of a template: its hash takes long."""
    kept = constraint.interests.get(pod.namespace)
    if kept is None:
        if len(constraint.interests) >= _KEPT:
            constraint.interests.clear()
        kept = Interest(frozenset((pod.namespace,)), constraint.selector, living=True)
        constraint.interests[pod.namespace] = kept
    return kept


@dataclass(frozen=True, slots=True)
class _Counted:
    """The nodes whose pods count, what tells them from other sets, and the domains that have one."""

    nodes: Bools
    key: Hashable
    domains: NDArray[np.intp]


def _counted(cluster: Cluster, pod: PodInfo, constraint: Constraint, keys: tuple[str, ...]) -> _Counted:
    """By the constraint's inclusion policies, of nodes with all labels. Not to be changed: it is kept."""
    policies = constraint.honor_affinity, constraint.honor_taints
    key = (keys, *policies, pod.signature) if any(policies) else (keys, *policies)

    def find() -> _Counted:
        eligible = _labelled(cluster, keys) & _find_eligible(cluster, pod, constraint)
        ids = domain_ids(cluster.nodes, constraint.topology_key)[eligible]
        return _Counted(eligible, key, np.flatnonzero(np.bincount(ids, minlength=1)[1:]) + 1)

    return cluster.nodes.remembered_of_layout(("counted", constraint.topology_key, key), find)


def _sums(cluster: Cluster, pod: PodInfo, constraint: Constraint, counted: _Counted) -> Floats:
    interest = _interest(pod, constraint)
    return cluster.counts.in_domains(interest, constraint.topology_key, counted.nodes, counted.key)


def _facet(cluster: Cluster, pod: PodInfo, constraint: Constraint, keys: tuple[str, ...]) -> Facet:
    counted = _counted(cluster, pod, constraint, keys)
    return Facet(constraint.topology_key, _interest(pod, constraint), counted.nodes, counted.key)


def _find_eligible(cluster: Cluster, pod: PodInfo, constraint: Constraint) -> Bools:
    nodes = cluster.nodes
    found = nodes.present[: nodes.size].copy()
    if constraint.honor_affinity:
        matched = match_required(nodes, affinity.required_of(pod.obj), nodes.all())
        if matched is not None:
            found &= matched
    if constraint.honor_taints:
        wanted = tolerations.of(pod.obj)

        def tolerated(taints: tuple[Taint, ...]) -> int:
            return all(t[2] == "PreferNoSchedule" or tolerations.any_covers(wanted, *t) for t in taints)

        found &= nodes.by_taint_set(tolerated, nodes.all()) > 0
    return found
