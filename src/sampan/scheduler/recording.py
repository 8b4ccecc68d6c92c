"""What is kept of an attempt (``records.py``), made of the decision and of the arrays that it was taken on. Pure."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

import numpy as np

from sampan.api.quantity import format_quantity
from sampan.scheduler.arrays import Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.decision import Decision
from sampan.scheduler.plugins.defaultpreemption import Preemption
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.records import (
    AttemptRecord,
    Nearest,
    NodeScore,
    PodName,
    PreemptionRecord,
    Rejection,
    Result,
)

_FIT = "NodeResourcesFit"
#: of a message: what a plug-in from elsewhere says may be anything
_LONGEST = 2048


def record(
    decision: Decision,
    pod: PodInfo,
    profile: Profile,
    cluster: Cluster,
    at: datetime,
    *,
    message: str = "",
    preemption: Preemption | None = None,
) -> AttemptRecord:
    """``message`` in place of the decision's own: why it came to nothing after all."""
    examples = _examples(decision, cluster)
    rejections = [
        Rejection(
            verdict.plugin,
            nodes,
            ", ".join(verdict.reasons)[:_LONGEST],
            "" if number is None else examples.get(number, ""),
            verdict.detail[:_LONGEST],
        )
        for verdict, nodes in sorted(decision.ruled_out.items(), key=lambda item: -item[1])
        for number in (cluster.verdicts.find(verdict),)
    ]
    scheduled = bool(decision.node) and not message
    result: Result = "scheduled" if scheduled else "unschedulable"
    return AttemptRecord(
        PodName(pod.namespace, pod.name, pod.uid),
        at,
        profile.scheduler_name,
        result,
        decision.node if scheduled else "",
        (message or decision.message)[:_LONGEST],
        decision.nodes,
        decision.feasible,
        tuple(rejections),
        None if decision.verdicts is None else nearest(decision.verdicts, pod, profile, cluster),
        tuple(NodeScore(name, total) for name, total in decision.top),
        None
        if preemption is None
        else PreemptionRecord(preemption.node, tuple(str(v.key) for v in preemption.victims), preemption.message),
    )


def failed(pod: PodInfo, profile: Profile, at: datetime, message: str) -> AttemptRecord:
    """An attempt that ended with an error."""
    name = PodName(pod.namespace, pod.name, pod.uid)
    return AttemptRecord(name, at, profile.scheduler_name, "error", message=message[:_LONGEST])


def waiting(pod: PodInfo, profile: Profile, at: datetime, message: str) -> AttemptRecord:
    """An attempt on a group of pods that this one was not the trouble of."""
    name = PodName(pod.namespace, pod.name, pod.uid)
    return AttemptRecord(name, at, profile.scheduler_name, "unschedulable", message=message[:_LONGEST])


def _examples(decision: Decision, cluster: Cluster) -> dict[int, str]:
    """A node for each verdict."""
    if decision.verdicts is None:
        return {}
    numbers, first = np.unique(decision.verdicts, return_index=True)
    return {int(n): cluster.nodes.names[slot] for n, slot in zip(numbers, first, strict=True) if n > 0}


def nearest(verdicts: Ids, pod: PodInfo, profile: Profile, cluster: Cluster) -> Nearest | None:
    """The node that passed most filters: the last one to turn a node down came furthest. Among nodes with too little
    room, the one that lacks least. None: nothing is known of single nodes."""
    table = cluster.verdicts
    order = {plugin.name: place for place, plugin in enumerate(profile.filters)}
    numbers = [int(number) for number in np.unique(verdicts) if number > 0]
    if not numbers:
        return None
    furthest = max(order.get(table[number].plugin, -1) for number in numbers)
    best = [number for number in numbers if order.get(table[number].plugin, -1) == furthest]
    slots = np.flatnonzero(np.isin(verdicts, best))
    lacking: dict[str, str] = {}
    slot = int(slots[0])
    if table[best[0]].plugin == _FIT:
        slot, lacking = _least_lack(slots, pod, cluster)
    verdict = table[int(verdicts[slot])]
    return Nearest(cluster.nodes.names[slot], verdict.plugin, ", ".join(verdict.reasons)[:_LONGEST], lacking)


def _least_lack(
    slots: np.ndarray[tuple[int], np.dtype[np.intp]], pod: PodInfo, cluster: Cluster
) -> tuple[int, dict[str, str]]:
    """By what is lacking in parts of what is asked for, all resources together."""
    nodes = cluster.nodes
    short = {}
    total = np.zeros(len(slots))
    for name, wanted in pod.requests.items():
        row = nodes.resources.get(name)
        free = nodes.allocatable[row, slots] - nodes.requested[row, slots] if row is not None else 0
        lack = np.maximum(wanted - free, 0) + np.zeros(len(slots), np.int64)
        short[name] = lack
        total += lack / wanted
    best = int(np.argmin(total))
    return int(slots[best]), {name: _quantity(name, int(lack[best])) for name, lack in short.items() if lack[best]}


def _quantity(resource: str, amount: int) -> str:
    if resource == "cpu":
        return format_quantity(Fraction(amount, 1000))
    return format_quantity(Fraction(amount), "BinarySI" if resource in ("memory", "ephemeral-storage") else "DecimalSI")
