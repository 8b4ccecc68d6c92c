"""SchedulingGates (PreEnqueue) and PrioritySort (QueueSort): which pods enter the queue, and in what order."""

from __future__ import annotations

from sampan.scheduler.framework import SUCCESS, Code, Status
from sampan.scheduler.podinfo import PodInfo


class SchedulingGates:
    """The API server itself writes the condition SchedulingGated."""

    name = "SchedulingGates"

    def pre_enqueue(self, pod: PodInfo) -> Status:
        gates = [gate.get("name", "") for gate in pod.spec.get("schedulingGates") or ()]
        if not gates:
            return SUCCESS
        return Status(Code.UNRESOLVABLE, (f"waiting for scheduling gates: [{' '.join(gates)}]",), self.name)


class PrioritySort:
    name = "PrioritySort"

    def sort_key(self, pod: PodInfo, enqueued: float) -> tuple[int, float]:
        return -pod.priority, enqueued
