"""What most plugins have in common: no PreFilter of their own, scores that need no normalizing."""

from __future__ import annotations

from sampan.scheduler.arrays import Floats
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SUCCESS, CycleState, Event, Status
from sampan.scheduler.podinfo import PodInfo


class LocalFilter:
    """A filter whose verdict on a node depends on the pod and that node alone."""

    local = True
    wakes: frozenset[Event] = frozenset()

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        return SUCCESS


class LocalScore:
    """A score of a node that depends on the pod and that node alone."""

    local = True
    normalized = False

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return True

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        return scores
