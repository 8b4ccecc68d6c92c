"""TaintToleration: NoSchedule and NoExecute taints must be tolerated; PreferNoSchedule ones cost score."""

from __future__ import annotations

import numpy as np

from sampan.api.nodes.taints import REPELLING
from sampan.api.pods import tolerations
from sampan.scheduler.arrays import At, Floats, Ids, Taint
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import Code, CycleState, Verdicts, default_normalize
from sampan.scheduler.plugins.base import LocalFilter, LocalScore
from sampan.scheduler.podinfo import PodInfo


class TaintToleration(LocalFilter, LocalScore):
    name = "TaintToleration"
    usage = False
    normalized = True

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        wanted = tolerations.of(pod.obj)

        def verdict(taints: tuple[Taint, ...]) -> int:
            for taint in taints:
                if taint[2] in REPELLING and not tolerations.any_covers(wanted, *taint):
                    # Since v1.35 the message names no taint (a tenant may not see nodes): only the explanation does.
                    detail = f"{{{taint[0]}: {taint[1]}}}"
                    reason = "node(s) had untolerated taint(s)"
                    return cluster.verdicts.id(self.name, Code.UNRESOLVABLE, reason, detail=detail)
            return Verdicts.PASS

        if not cluster.nodes.taint_set[at].any():
            return None
        return cluster.nodes.by_taint_set(verdict, at)

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return any(taint[2] == "PreferNoSchedule" for taints in cluster.nodes.taint_sets for taint in taints)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        soft = ("", None, "PreferNoSchedule")
        wanted = [toleration for toleration in tolerations.of(pod.obj) if toleration.get("effect") in soft]

        def intolerable(taints: tuple[Taint, ...]) -> int:
            return sum(
                taint[2] == "PreferNoSchedule" and not tolerations.any_covers(wanted, *taint) for taint in taints
            )

        return cluster.nodes.by_taint_set(intolerable, at).astype(np.float64)

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        return default_normalize(scores, reverse=True)
