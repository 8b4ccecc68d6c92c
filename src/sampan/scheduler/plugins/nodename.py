"""NodeName: a pod that names its node fits no other."""

from __future__ import annotations

import numpy as np

from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Status
from sampan.scheduler.plugins.base import LocalFilter
from sampan.scheduler.podinfo import PodInfo


class NodeName(LocalFilter):
    name = "NodeName"
    usage = False

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        return SUCCESS if pod.node_name else SKIP

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        verdict = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, "node(s) didn't match the requested node name")
        return np.where(cluster.nodes.where_name({pod.node_name}, at), np.int32(0), np.int32(verdict))
