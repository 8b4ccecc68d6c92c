"""What the state of a node means: conditions when it is silent, and taints (upstream ``nodelifecycle``). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.nodes import taints
from sampan.api.nodes.taints import NOT_READY, UNREACHABLE, UNSCHEDULABLE
from sampan.api.types import Condition, Obj
from sampan.controllers.workload import conditions
from sampan.records import dataclass

_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
#: Condition type → status → key of its NoSchedule taint.
_CONDITION_TAINTS = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": taints.MEMORY_PRESSURE},
    "DiskPressure": {"True": taints.DISK_PRESSURE},
    "NetworkUnavailable": {"True": taints.NETWORK_UNAVAILABLE},
    "PIDPressure": {"True": taints.PID_PRESSURE},
}
_OWNED_NO_SCHEDULE = frozenset(
    {UNSCHEDULABLE} | {key for statuses in _CONDITION_TAINTS.values() for key in statuses.values()}
)
_OWNED_NO_EXECUTE = frozenset({NOT_READY, UNREACHABLE})


def ready_status(node: Obj) -> str:
    """``True``, ``False`` or ``Unknown``; a node that never reported is Unknown."""
    ready = conditions.find(node.get("status", {}).get("conditions"), "Ready")
    return str(ready["status"]) if ready is not None else "Unknown"


def plan_silent(node: Obj, now: datetime) -> list[Condition]:
    """The conditions of a node that has not been heard of for the grace period."""
    listed: list[Condition] = list(node.get("status", {}).get("conditions") or ())
    moment = format_time(now)
    for kind in _WATCHED:
        old = conditions.find(listed, kind)
        if old is not None and old["status"] == "Unknown":
            continue
        new: Condition = {"type": kind, "status": "Unknown", "lastTransitionTime": moment}
        if old is None:
            new["lastHeartbeatTime"] = str(node["metadata"].get("creationTimestamp", moment))
            new["reason"], new["message"] = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        else:
            new["lastHeartbeatTime"] = old.get("lastHeartbeatTime") or moment
            new["reason"], new["message"] = "NodeStatusUnknown", "Kubelet stopped posting node status."
        listed = [new if entry["type"] == kind else entry for entry in listed] if old is not None else [*listed, new]
    return listed


@dataclass(frozen=True, slots=True)
class Taints:
    """The whole list to write, whether it differs from the present one, and whether the node waits for its turn to be
    evicted."""

    wanted: list[Obj]
    changed: bool
    waits: bool


def plan_taints(node: Obj, now: datetime, *, evict: bool, due: bool) -> Taints:
    """``due``: it is the node's turn to be evicted; until then ``waits`` says that it should be. A node that has one
    of the two taints of eviction changes it for the other at once. ``evict`` False: there are none, nor any turn."""
    present: Sequence[Obj] = node["spec"].get("taints") or ()
    listed = node.get("status", {}).get("conditions") or ()
    no_schedule = {
        key
        for kind, statuses in _CONDITION_TAINTS.items()
        if (entry := conditions.find(listed, kind)) is not None and (key := statuses.get(entry["status"], ""))
    }
    if node["spec"].get("unschedulable"):
        no_schedule.add(UNSCHEDULABLE)
    ready = conditions.find(listed, "Ready")
    should = _CONDITION_TAINTS["Ready"].get(ready["status"], "") if ready is not None and evict else ""
    evicted = any(taint["effect"] == "NoExecute" and taint["key"] in _OWNED_NO_EXECUTE for taint in present)
    no_execute = should if due or evicted else ""
    moment = format_time(now)
    wanted: list[Obj] = []
    kept: set[tuple[str, str]] = set()
    for taint in present:
        key, effect = taint["key"], taint["effect"]
        stale = (effect == "NoSchedule" and key in _OWNED_NO_SCHEDULE and key not in no_schedule) or (
            effect == "NoExecute" and key in _OWNED_NO_EXECUTE and key != no_execute
        )
        if key == NOT_READY and ready is None:
            # Set at registration; it stays until the node reports for the first time.
            stale = False
        if not stale:
            wanted.append(taint)
            kept.add((key, effect))
    for key in sorted(no_schedule):
        if (key, "NoSchedule") not in kept:
            wanted.append({"key": key, "effect": "NoSchedule", "timeAdded": moment})
    if no_execute and (no_execute, "NoExecute") not in kept:
        wanted.append({"key": no_execute, "effect": "NoExecute", "timeAdded": moment})
    return Taints(wanted, wanted != list(present), bool(should) and not no_execute)


#: label as it is, and as it was once
_LABELS = (
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
)


def plan_labels(node: Obj) -> dict[str, str]:
    """The former labels of system and architecture that do not say what today's say."""
    labels = node["metadata"].get("labels") or {}
    return {old: labels[new] for new, old in _LABELS if new in labels and labels.get(old) != labels[new]}
