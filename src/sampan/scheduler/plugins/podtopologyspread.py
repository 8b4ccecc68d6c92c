"""PodTopologySpread: pods of a kind in even numbers over domains, as a rule or as a wish.

A pod without constraints gets the system's default wishes (zones, hosts) when a Service or its owner selects it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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
from sampan.scheduler.framework import MAX_NODE_SCORE, SKIP, SUCCESS, Code, CycleState, Event, Status, Verdicts
from sampan.scheduler.plugins.domains import domain_ids, sum_by_domain
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
        found = np.zeros(nodes.size, np.int32)
        labelled = _labelled(cluster, constraints)
        for constraint in constraints:
            ids = domain_ids(nodes, constraint.topology_key)
            eligible = labelled & _eligible(cluster, pod, constraint)
            counts = sum_by_domain(ids, _matching(cluster, pod, constraint) * eligible)
            exists = np.zeros(len(counts), np.bool_)
            exists[ids[eligible]] = True
            exists[0] = False
            lowest = counts[exists].min() if exists.any() else np.inf
            if exists.sum() < constraint.min_domains:
                lowest = 0
            own = constraint.selector.matches(pod.labels)
            skewed = counts[ids] + own - lowest > constraint.max_skew
            free = found == Verdicts.PASS
            found[free & skewed] = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _SKEWED)
            found[free & (ids == 0)] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _UNLABELLED)
        return found[at]

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
        """``at`` are the feasible nodes."""
        nodes = cluster.nodes
        constraints, strict = state.data[self.name]
        labelled = _labelled(cluster, constraints) if strict else nodes.present[: nodes.size]
        counted = labelled[at]
        state.data[f"{self.name}/ignored"] = ~counted
        total = np.zeros(len(counted))
        for constraint in constraints:
            ids = domain_ids(nodes, constraint.topology_key)
            here = ids[at]
            if constraint.topology_key == HOSTNAME:
                size = int(counted.sum())
                counts = _matching(cluster, pod, constraint)[at]
            else:
                size = int(np.count_nonzero(np.bincount(here[counted])[1:]))
                eligible = labelled & _eligible(cluster, pod, constraint)
                counts = sum_by_domain(ids, _matching(cluster, pod, constraint) * eligible)[here]
            wish = counts * np.log(size + 2) + (constraint.max_skew - 1)
            total += np.where(here > 0, wish, 0)
        rounded: Floats = np.where(counted, np.floor(total + 0.5), 0)
        return rounded

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


def _labelled(cluster: Cluster, constraints: Sequence[Constraint]) -> Bools:
    """Nodes with all of their labels. Not to be changed: it is kept."""
    keys = tuple(constraint.topology_key for constraint in constraints)
    return cluster.nodes.remembered(("labelled", keys), lambda: _find_labelled(cluster, keys))


def _find_labelled(cluster: Cluster, keys: Sequence[str]) -> Bools:
    found = cluster.nodes.present[: cluster.nodes.size].copy()
    for key in keys:
        found &= domain_ids(cluster.nodes, key) > 0
    return found


def _matching(cluster: Cluster, pod: PodInfo, constraint: Constraint) -> Floats:
    return cluster.counts.of(Interest(frozenset((pod.namespace,)), constraint.selector, living=True))


def _eligible(cluster: Cluster, pod: PodInfo, constraint: Constraint) -> Bools:
    """Nodes whose pods count, by the constraint's inclusion policies. Not to be changed: it is kept."""
    policies = constraint.honor_affinity, constraint.honor_taints
    key = (*policies, pod.signature) if any(policies) else policies
    return cluster.nodes.remembered(("eligible", *key), lambda: _find_eligible(cluster, pod, constraint))


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
