"""What a decision changes in a pod's status: the PodScheduled condition and the nominated node. Pure."""

from __future__ import annotations

from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.types import Obj

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"


def plan_failure_patch(pod: Obj, reason: str, message: str, now: datetime, nominated: str | None = None) -> Obj | None:
    """A strategic merge patch of ``pods/status``; None when it says so already. ``nominated`` None: as it is."""
    status = pod.get("status") or {}
    old = next((c for c in status.get("conditions") or () if c.get("type") == "PodScheduled"), None)
    patch: Obj = {}
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    if old is None or any(old.get(key) != value for key, value in condition.items()):
        changed = old is None or old.get("status") != "False" or not old.get("lastTransitionTime")
        moment = format_time(now) if changed or old is None else old["lastTransitionTime"]
        patch["conditions"] = [{**condition, "lastProbeTime": None, "lastTransitionTime": moment}]
        generation = pod["metadata"].get("generation")
        if generation:
            patch["conditions"][0]["observedGeneration"] = generation
    if nominated is not None and nominated != (status.get("nominatedNodeName") or ""):
        patch["nominatedNodeName"] = nominated or None
    if not patch:
        return None
    return {"metadata": {"uid": pod["metadata"].get("uid", "")}, "status": patch}


def plan_preempted_patch(victim: Obj, scheduler: str, now: datetime) -> Obj:
    """A strategic merge patch of ``pods/status``: why this pod is about to be deleted."""
    condition: Obj = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": f"{scheduler}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": format_time(now),
    }
    return {"metadata": {"uid": victim["metadata"].get("uid", "")}, "status": {"conditions": [condition]}}
