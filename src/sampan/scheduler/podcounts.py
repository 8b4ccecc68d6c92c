"""How many pods of interest are on each node: one vector for each selector that a decision asked about.

PodTopologySpread and InterPodAffinity turn these into counts a domain by one ``bincount``. A vector is counted once
over all pods when first asked for, then kept up to date by the cache. Terms that pods on nodes carry themselves
(their required anti-affinity, their preferences) are counted the same way, one vector a distinct term.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import field

import numpy as np

from sampan.api.labels import Selector
from sampan.api.selectorindex import SelectorIndex
from sampan.records import dataclass
from sampan.scheduler.affinity import Term, terms_of
from sampan.scheduler.arrays import Floats, NodeArrays
from sampan.scheduler.podinfo import PodInfo

#: Selectors kept: more than the distinct workloads that are being scheduled at one time.
LIMIT = 512


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


class PodCounts:
    """Invariant: for every kept interest, its vector at a slot is the number of matching pods in ``_pods`` there.
    ``_interests`` holds the same interests as ``_vectors``: a pod that comes or goes meets those that match it only."""

    def __init__(self, nodes: NodeArrays) -> None:
        self._nodes = nodes
        self._vectors: OrderedDict[Interest, Floats] = OrderedDict()
        self._interests: SelectorIndex[Interest] = SelectorIndex()
        self._pods: dict[str, tuple[int, PodInfo]] = {}
        #: each distinct term that pods on nodes carry -> (weight on each slot, how many carry it)
        self._carried: dict[Term, tuple[Floats, int]] = {}

    def add(self, slot: int, pod: PodInfo, sign: int) -> None:
        if sign > 0:
            self._pods[pod.uid] = (slot, pod)
        else:
            self._pods.pop(pod.uid, None)
        for interest in self._interests.matching(pod.namespace, pod.labels):
            if not (interest.living and pod.terminating):
                vector = self._vectors[interest] = self._fitted(self._vectors[interest])
                vector[slot] += sign
        if not pod.affinity:
            return
        for term in terms_of(pod).carried:
            known = self._carried.get(term)
            vector, carriers = known if known is not None else (np.zeros(self._nodes.capacity), 0)
            vector = self._fitted(vector)
            vector[slot] += sign
            if carriers + sign <= 0:
                self._carried.pop(term, None)
            else:
                self._carried[term] = (vector, carriers + sign)

    def of(self, interest: Interest) -> Floats:
        """Matching pods on each slot."""
        vector = self._vectors.get(interest)
        if vector is None:
            vector = np.zeros(self._nodes.capacity)
            for slot, pod in self._pods.values():
                if interest.matches(pod):
                    vector[slot] += 1
            self._vectors[interest] = vector
            self._interests.put(interest, interest.namespaces, interest.selector)
            if len(self._vectors) > LIMIT:
                oldest, _ = self._vectors.popitem(last=False)
                self._interests.drop(oldest)
        else:
            self._vectors.move_to_end(interest)
        return self._fitted(vector)[: self._nodes.size]

    def carried(self) -> list[tuple[Term, Floats]]:
        """Terms of pods on nodes, with the number of pods that carry each on every slot."""
        size = self._nodes.size
        return [(term, self._fitted(vector)[:size]) for term, (vector, _) in self._carried.items()]

    def _fitted(self, vector: Floats) -> Floats:
        short = self._nodes.capacity - len(vector)
        return np.pad(vector, (0, short)) if short > 0 else vector
