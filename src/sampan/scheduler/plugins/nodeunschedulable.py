"""NodeUnschedulable: cordoned nodes take only pods that tolerate the taint of being cordoned."""

from __future__ import annotations

import numpy as np

from sampan.api.nodes.taints import UNSCHEDULABLE
from sampan.api.pods import tolerations
from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Status
from sampan.scheduler.plugins.base import LocalFilter
from sampan.scheduler.podinfo import PodInfo

TAINT = (UNSCHEDULABLE, "", "NoSchedule")


class NodeUnschedulable(LocalFilter):
    name = "NodeUnschedulable"
    usage = False

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        return SKIP if tolerations.any_covers(tolerations.of(pod.obj), *TAINT) else SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        cordoned = cluster.nodes.unschedulable[at]
        if not cordoned.any():
            return None
        verdict = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, "node(s) were unschedulable")
        return np.where(cordoned, np.int32(verdict), np.int32(0))
