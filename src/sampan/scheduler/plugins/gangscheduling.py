"""GangScheduling: a gang's pods are queued when enough of them are there, and bound when enough of them are placed.

Upstream's plug-in of v1.37 (gate GenericWorkload): PreEnqueue, and the question after each pod of a group whether the
group can still have what it needs (PlacementFeasible), which ``groupcycle.py`` asks.
"""

from __future__ import annotations

from sampan.scheduler.framework import SUCCESS, Code, Status
from sampan.scheduler.podgroups import GANG, PodGroups, key_of
from sampan.scheduler.podinfo import PodInfo


class GangScheduling:
    name = GANG

    def __init__(self, groups: PodGroups) -> None:
        self._groups = groups

    def pre_enqueue(self, pod: PodInfo) -> Status:
        key = key_of(pod)
        if key is None:
            return SUCCESS
        refused = self._groups.refusal(key)
        if not refused:
            return SUCCESS
        self._groups.hold(key, pod.uid)
        return Status(Code.UNRESOLVABLE, (refused,), GANG)


def feasible(least: int, scheduled: int, remaining: int) -> Status:
    """WAIT: not yet, and it still may be. UNSCHEDULABLE: whatever becomes of the rest, it will not be."""
    if scheduled + remaining < least:
        said = f"minCount ({least}) cannot be satisfied: {scheduled} scheduled, {remaining} remaining"
        return Status(Code.UNSCHEDULABLE, (said,), GANG)
    if scheduled < least:
        said = f"minCount ({least}) is not yet satisfied: {scheduled} scheduled, {remaining} remaining"
        return Status(Code.WAIT, (said,), GANG)
    return SUCCESS
