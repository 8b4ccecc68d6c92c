"""What a decision changes in a pod's status, and in that of a group of pods. Pure."""

from __future__ import annotations

from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.types import Obj
from sampan.scheduler.framework import Code, Status

INITIALLY_SCHEDULED = "PodGroupInitiallyScheduled"
SCHEDULED = "Scheduled"
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


def plan_group_patch(group: Obj, outcome: Status, now: datetime) -> Obj | None:
    """The same of ``podgroups/status``: the condition PodGroupInitiallyScheduled, which stays once it is True."""
    conditions = (group.get("status") or {}).get("conditions") or ()
    old = next((c for c in conditions if c.get("type") == INITIALLY_SCHEDULED), None)
    scheduled = outcome.code is Code.SUCCESS
    state, reason = ("True", SCHEDULED) if scheduled else ("False", UNSCHEDULABLE)
    condition = {"type": INITIALLY_SCHEDULED, "status": state, "reason": reason, "message": outcome.message}
    if old is not None and (old.get("status") == "True" or all(old.get(k, "") == v for k, v in condition.items())):
        return None
    meta = group["metadata"]
    condition["lastTransitionTime"] = (
        old["lastTransitionTime"] if old is not None and old.get("status") == state else format_time(now)
    )
    if meta.get("generation"):
        condition["observedGeneration"] = meta["generation"]
    return {"metadata": {"uid": meta.get("uid", "")}, "status": {"conditions": [condition]}}


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
