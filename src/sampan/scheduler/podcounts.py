"""How many pods of interest are on each node: one vector for each selector that a decision asked about.

PodTopologySpread and InterPodAffinity look at sums of these over the domains of a topology key (``domains.py``). A
vector is counted once over all pods when first asked for, then kept up to date by the cache. Terms that pods on nodes
carry themselves (their required anti-affinity, their preferences) are counted the same way, one vector a distinct term.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import field
from typing import TypeAlias

import numpy as np

from sampan.api.labels import Selector
from sampan.api.selectorindex import SelectorIndex
from sampan.records import dataclass
from sampan.scheduler.affinity import Term, terms_of
from sampan.scheduler.arrays import Bools, Floats, NodeArrays
from sampan.scheduler.domains import DomainSums
from sampan.scheduler.podinfo import PodInfo

#: Selectors kept: more than the distinct workloads that are being scheduled at one time.
LIMIT = 512
#: Sums over domains that are kept; one takes 4 bytes a node.
SUMS = 128


@dataclass(frozen=True, slots=True)
class Interest:
    """Pods of these namespaces (None: of all) that the selector matches; ``living``: without terminating ones."""

    namespaces: frozenset[str] | None
    selector: Selector
    living: bool = False
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.namespaces, self.selector, self.living)))

    def __hash__(self) -> int:
        return self._hash

    def matches(self, pod: PodInfo) -> bool:
        if self.namespaces is not None and pod.namespace not in self.namespaces:
            return False
        return not (self.living and pod.terminating) and self.selector.matches(pod.labels)


#: what pods are counted by
Counted: TypeAlias = Interest | Term


class PodCounts:
    """Invariant: for every kept interest, its vector at a slot is the number of matching pods in ``_pods`` there.
    ``_interests`` holds the same interests as ``_vectors``: a pod that comes or goes meets those that match it only.
    ``_speaking`` holds the terms of ``_carried`` that may be about pods of any kind they select."""

    def __init__(self, nodes: NodeArrays) -> None:
        self._nodes = nodes
        self._vectors: OrderedDict[Interest, Floats] = OrderedDict()
        self._interests: SelectorIndex[Interest] = SelectorIndex()
        #: pods on nodes by namespace, then by uid
        self._pods: dict[str, dict[str, tuple[int, PodInfo]]] = {}
        #: each distinct term that pods on nodes carry -> (weight on each slot, how many carry it)
        self._carried: dict[Term, tuple[Floats, int]] = {}
        self._speaking: SelectorIndex[Term] = SelectorIndex()
        self._sums: OrderedDict[tuple[Counted, str, Hashable], DomainSums] = OrderedDict()

    def add(self, slot: int, pod: PodInfo, sign: int) -> None:
        if sign > 0:
            self._pods.setdefault(pod.namespace, {})[pod.uid] = (slot, pod)
        elif (there := self._pods.get(pod.namespace)) is not None:
            there.pop(pod.uid, None)
            if not there:
                del self._pods[pod.namespace]
        for interest in self._interests.matching(pod.namespace, pod.labels):
            if not (interest.living and pod.terminating):
                vector = self._vectors[interest] = self._fitted(self._vectors[interest])
                vector[slot] += sign
        if not pod.affinity:
            return
        for term in terms_of(pod).carried:
            known = self._carried.get(term)
            if known is None:
                known = np.zeros(self._nodes.capacity), 0
                # Who is in a selected namespace is known when it is asked.
                named = term.namespaces if term.namespace_selector is None else None
                self._speaking.put(term, named, term.selector)
            vector, carriers = self._fitted(known[0]), known[1]
            vector[slot] += sign
            if carriers + sign <= 0:
                self._carried.pop(term, None)
                self._speaking.drop(term)
            else:
                self._carried[term] = (vector, carriers + sign)

    def renew(self, pod: PodInfo) -> None:
        """The same pod, of which nothing that counts has changed."""
        there = self._pods.get(pod.namespace, {})
        if pod.uid in there:
            there[pod.uid] = there[pod.uid][0], pod

    def of(self, interest: Interest) -> Floats:
        """Matching pods on each slot."""
        vector = self._vectors.get(interest)
        if vector is None:
            vector = self._count(interest)
            self._vectors[interest] = vector
            self._interests.put(interest, interest.namespaces, interest.selector)
            if len(self._vectors) > LIMIT:
                oldest, _ = self._vectors.popitem(last=False)
                self._interests.drop(oldest)
        else:
            self._vectors.move_to_end(interest)
        return self._fitted(vector)[: self._nodes.size]

    def of_any(self, counted: Counted) -> Floats:
        """The same, of pods that carry a term too."""
        if isinstance(counted, Interest):
            return self.of(counted)
        vector, _ = self._carried.get(counted, (None, 0))
        size = self._nodes.size
        return np.zeros(size) if vector is None else self._fitted(vector)[:size]

    def carried_about(self, pod: PodInfo, namespace_labels: Mapping[str, Mapping[str, str]]) -> list[Term]:
        """Terms of pods on nodes that speak of this pod."""
        if not self._carried:
            return []
        found = self._speaking.matching(pod.namespace, pod.labels)
        return [term for term in found if term.matches(pod, namespace_labels)]

    def in_domains(
        self, counted: Counted, key: str, eligible: Bools | None = None, eligible_key: Hashable = None
    ) -> Floats:
        """The sum over each domain of a topology key, of eligible nodes; that of "no domain" is 0. ``eligible_key``
        tells one set of eligible nodes from another. Not to be changed: it is kept."""
        name = counted, key, eligible_key
        sums = self._sums.get(name)
        if sums is None:
            sums = self._sums[name] = DomainSums(key)
            if len(self._sums) > SUMS:
                self._sums.popitem(last=False)
        else:
            self._sums.move_to_end(name)
        return sums.of(self._nodes, self.of_any(counted), eligible)

    def _count(self, interest: Interest) -> Floats:
        vector = np.zeros(self._nodes.capacity)
        named = self._pods if interest.namespaces is None else interest.namespaces
        for namespace in named:
            for slot, pod in self._pods.get(namespace, {}).values():
                if interest.matches(pod):
                    vector[slot] += 1
        return vector

    def _fitted(self, vector: Floats) -> Floats:
        short = self._nodes.capacity - len(vector)
        return np.pad(vector, (0, short)) if short > 0 else vector
