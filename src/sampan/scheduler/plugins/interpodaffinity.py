"""InterPodAffinity: the pod's affinity and anti-affinity to pods on nodes, and theirs to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sampan.api.labels import Requirement, Selector
from sampan.scheduler.affinity import Term, terms_of
from sampan.scheduler.arrays import At, Bools, Floats, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.domains import domain_ids
from sampan.scheduler.framework import MAX_NODE_SCORE, SKIP, SUCCESS, Code, CycleState, Event, Status
from sampan.scheduler.nodegroups import Facet
from sampan.scheduler.podcounts import Counted, Interest
from sampan.scheduler.podinfo import PodInfo

_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


#: Interests that are kept by the terms that they follow from.
_KEPT = 1024


def interest_of(terms: tuple[Term, ...], cluster: Cluster) -> Interest:
    """Pods that match all of these terms."""
    found: Interest | None = cluster.of_namespaces.get(terms)
    if found is None:
        if len(cluster.of_namespaces) >= _KEPT:
            cluster.of_namespaces.clear()
        found = cluster.of_namespaces[terms] = _interest_of(terms, cluster)
    return found


def _interest_of(terms: Iterable[Term], cluster: Cluster) -> Interest:
    namespaces: frozenset[str] | None = None
    requirements: list[Requirement] = []
    nothing = False
    for term in terms:
        allowed = _namespaces(term, cluster)
        if allowed is not None:
            namespaces = allowed if namespaces is None else namespaces & allowed
        nothing = nothing or term.selector.nothing
        requirements += term.selector.requirements
    return Interest(namespaces, Selector(tuple(requirements), nothing))


def _namespaces(term: Term, cluster: Cluster) -> frozenset[str] | None:
    chosen = term.namespace_selector
    if chosen is None:
        return term.namespaces
    if chosen.everything:
        return None
    selected = (name for name, labels in cluster.namespace_labels.items() if chosen.matches(labels))
    return term.namespaces | frozenset(selected)


class InterPodAffinity:
    name = "InterPodAffinity"
    local = False
    normalized = True
    wakes = frozenset((Event.POD_ADD, Event.POD_UPDATE, Event.POD_DELETE, Event.NODE_ADD, Event.NODE_UPDATE))

    def __init__(self, hard_affinity_weight: int = 1, *, ignore_preferred_of_others: bool = False) -> None:
        self._hard_weight = hard_affinity_weight
        self._ignore_preferred = ignore_preferred_of_others

    def hint(self, pod: PodInfo, event: Event, changed: PodInfo | None, cluster: Cluster) -> bool:
        if changed is None or event is Event.POD_UPDATE:
            return True
        terms, labels = terms_of(pod), cluster.namespace_labels
        if event is Event.POD_ADD:
            return any(term.matches(changed, labels) for term in terms.affinity)
        return any(term.matches(changed, labels) for term in terms.anti_affinity) or any(
            term.matches(pod, labels) for term in terms_of(changed).anti_affinity
        )

    # Filter

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        terms = terms_of(pod)
        if terms.error:
            return Status(Code.UNRESOLVABLE, (terms.error,))
        about = cluster.counts.carried_about(pod, cluster.namespace_labels)
        refusing = [term for term in about if term.kind == "anti-affinity"]
        state.data[self.name] = refusing
        return SUCCESS if terms.affinity or terms.anti_affinity or refusing else SKIP

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes, terms, counts = cluster.nodes, terms_of(pod), cluster.counts
        found = np.zeros(nodes.length(at), np.int32)
        for term in state.data[self.name]:
            taken = counts.in_domains(term, term.topology_key)[domain_ids(nodes, term.topology_key)[at]] > 0
            found[taken] = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _EXISTING)
        for term in terms.anti_affinity:
            there = counts.in_domains(interest_of((term,), cluster), term.topology_key)
            taken = there[domain_ids(nodes, term.topology_key)[at]] > 0
            found[taken] = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _ANTI_AFFINITY)
        if terms.affinity:
            # Last, because it wins: a node that fails several is told of affinity first.
            found[~self._together(pod, cluster, at)] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _AFFINITY)
        return found

    @staticmethod
    def _together(pod: PodInfo, cluster: Cluster, at: At) -> Bools:
        nodes, terms = cluster.nodes, terms_of(pod).affinity
        interest = interest_of(terms, cluster)
        labelled = np.ones(nodes.length(at), np.bool_)
        matched = np.ones(nodes.length(at), np.bool_)
        anywhere = False
        for term in terms:
            ids = domain_ids(nodes, term.topology_key)[at]
            there = cluster.counts.in_domains(interest, term.topology_key)
            labelled &= ids > 0
            matched &= there[ids] > 0
            anywhere = anywhere or bool(there.any())
        # The first of a group that wants to be together: it may start anywhere.
        if not anywhere and all(term.matches(pod, cluster.namespace_labels) for term in terms):
            return labelled
        return matched & labelled

    def filter_looks_at(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> list[Facet]:
        terms = terms_of(pod)
        found = [Facet(term.topology_key, term) for term in state.data[self.name]]
        found += [Facet(term.topology_key, interest_of((term,), cluster)) for term in terms.anti_affinity]
        if terms.affinity:
            interest = interest_of(terms.affinity, cluster)
            found += [Facet(term.topology_key, interest) for term in terms.affinity]
        return found

    # Score

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        weighted: list[tuple[str, float, Counted]] = []
        for term in terms_of(pod).preferred:
            weighted.append((term.topology_key, term.weight, interest_of((term,), cluster)))
        state.data[f"{self.name}/score"] = weighted
        if self._ignore_preferred and not weighted:
            return False
        for term in cluster.counts.carried_about(pod, cluster.namespace_labels):
            weight = self._hard_weight if term.kind == "affinity" else term.weight
            if weight:
                weighted.append((term.topology_key, weight, term))
        return bool(weighted)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        total = np.zeros(cluster.nodes.length(at))
        for key, weight, counted in state.data[f"{self.name}/score"]:
            total += weight * cluster.counts.in_domains(counted, key)[domain_ids(cluster.nodes, key)[at]]
        return total

    def score_looks_at(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> list[Facet]:
        return [Facet(key, counted) for key, _, counted in state.data[f"{self.name}/score"]]

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        lowest, highest = scores.min(), scores.max()
        if lowest == highest:
            return np.zeros(len(scores))
        found: Floats = np.trunc(MAX_NODE_SCORE * (scores - lowest) / (highest - lowest))
        return found
