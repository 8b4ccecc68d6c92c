"""TaintToleration: NoSchedule and NoExecute taints must be tolerated; PreferNoSchedule ones cost score."""

from __future__ import annotations

from typing import Any

import numpy as np

from sampan.scheduler.arrays import At, Floats, Ids, Taint
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import VERDICTS, Code, CycleState, default_normalize
from sampan.scheduler.plugins.base import LocalFilter, LocalScore
from sampan.scheduler.podinfo import PodInfo


def tolerates(tolerations: Any, taint: tuple[str, str, str]) -> bool:
    """``v1helper.TolerationsTolerateTaint``."""
    key, value, effect = taint
    return any(_matches(toleration, key, value, effect) for toleration in tolerations or ())


def _matches(toleration: Any, key: str, value: str, effect: str) -> bool:
    if toleration.get("effect") and toleration["effect"] != effect:
        return False
    if toleration.get("key") and toleration["key"] != key:
        return False
    wanted = toleration.get("value") or ""
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(wanted == value) and bool(toleration.get("key"))
        case "Lt":
            return _numbers(value, wanted, lambda have, bound: have < bound)
        case "Gt":
            return _numbers(value, wanted, lambda have, bound: have > bound)
        case _:
            return False


def _numbers(have: str, bound: str, compare: Any) -> bool:
    """KEP-5471: both must be integers."""
    try:
        return bool(compare(int(have), int(bound)))
    except ValueError:
        return False


class TaintToleration(LocalFilter, LocalScore):
    name = "TaintToleration"
    normalized = True

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        tolerations = pod.spec.get("tolerations")

        def verdict(taints: tuple[Taint, ...]) -> int:
            for taint in taints:
                if taint[2] in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
                    # Since v1.35 the message names no taint (a tenant may not see nodes): only the explanation does.
                    detail = f"{{{taint[0]}: {taint[1]}}}"
                    reason = "node(s) had untolerated taint(s)"
                    return VERDICTS.id(self.name, Code.UNRESOLVABLE, reason, detail=detail)
            return VERDICTS.PASS

        if not cluster.nodes.taint_set[at].any():
            return None
        return cluster.nodes.by_taint_set(verdict, at)

    def pre_score(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> bool:
        return any(taint[2] == "PreferNoSchedule" for taints in cluster.nodes.taint_sets for taint in taints)

    def score(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Floats:
        tolerations = [
            toleration
            for toleration in pod.spec.get("tolerations") or ()
            if (toleration.get("effect") or "PreferNoSchedule") == "PreferNoSchedule"
        ]

        def intolerable(taints: tuple[Taint, ...]) -> int:
            return sum(taint[2] == "PreferNoSchedule" and not tolerates(tolerations, taint) for taint in taints)

        return cluster.nodes.by_taint_set(intolerable, at).astype(np.float64)

    def normalize(self, state: CycleState, scores: Floats) -> Floats:
        return default_normalize(scores, reverse=True)
