"""NodePorts: a host port is held by one pod a node, address and protocol."""

from __future__ import annotations

import numpy as np

from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Status
from sampan.scheduler.plugins.base import LocalFilter
from sampan.scheduler.podinfo import PodInfo

_ANY = ("0.0.0.0", "")


class NodePorts(LocalFilter):
    name = "NodePorts"

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        return SUCCESS if pod.ports else SKIP

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        nodes = cluster.nodes
        taken = np.zeros(nodes.size, np.bool_)
        for address, protocol, port in pod.ports:
            for slot, held in nodes.ports.get((protocol, port), {}).items():
                if held and (address in _ANY or address in held or any(other in held for other in _ANY)):
                    taken[slot] = True
        if not taken.any():
            return None
        reason = "node(s) didn't have free ports for the requested pod ports"
        return np.where(taken[at], np.int32(cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, reason)), np.int32(0))
