"""What most plugins have in common: no PreFilter of their own, scores that need no normalizing.

``NodeFilter`` and ``NodeScore`` are for plug-ins from elsewhere that would rather look at one node after the other: a
loop over all nodes, where the arrays' plug-ins take one step. What they say is kept, and asked again where a node
changed.
"""

from __future__ import annotations

import numpy as np

from sampan.api.types import Obj
from sampan.scheduler.arrays import At, Floats, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SUCCESS, Code, CycleState, Event, Status, Verdicts
from sampan.scheduler.podinfo import PodInfo


class LocalFilter:
    """A filter whose verdict on a node depends on the pod and that node alone."""

    local = True
    usage = True
    wakes: frozenset[Event] = frozenset()

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        return SUCCESS


class LocalScore:
    """A score of a node that depends on the pod and that node alone."""

    local = True
    usage = True
    normalized = False

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return True

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        return scores


class NodeFilter(LocalFilter):
    """Has ``name`` and ``refuse``."""

    name: str
    usage = False

    def refuse(self, pod: Obj, node: Obj) -> str:
        """Why the node cannot take the pod, in words for its owner; "": it can."""
        raise NotImplementedError

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        found = [
            self._verdict(self.refuse(pod.obj, nodes.objects[slot]), cluster) if nodes.present[slot] else Verdicts.PASS
            for slot in np.arange(nodes.size)[at].tolist()
        ]
        return np.array(found, np.int32)

    def _verdict(self, why: str, cluster: Cluster) -> int:
        return cluster.verdicts.id(self.name, Code.UNRESOLVABLE, why) if why else Verdicts.PASS


class NodeScore(LocalScore):
    """Has ``name`` and ``rate``."""

    name: str
    usage = False

    def rate(self, pod: Obj, node: Obj) -> float:
        """0 to 100."""
        raise NotImplementedError

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        nodes = cluster.nodes
        rates = [
            self.rate(pod.obj, nodes.objects[slot]) if nodes.present[slot] else 0.0
            for slot in np.arange(nodes.size)[at].tolist()
        ]
        return np.clip(np.array(rates, np.float64), 0.0, 100.0)
