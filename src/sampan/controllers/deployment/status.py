"""Computes a Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

Reasons and messages are upstream's (``deployment/progress.go``): kubectl rollout and people match on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sampan.api.clock import parse_time
from sampan.api.types import Condition, Obj
from sampan.controllers.deployment import facts
from sampan.controllers.deployment.plan import Observed
from sampan.controllers.workload import conditions
from sampan.records import dataclass

AVAILABLE_REASON = "NewReplicaSetAvailable"
TIMED_OUT_REASON = "ProgressDeadlineExceeded"
PAUSED_REASON = "DeploymentPaused"


@dataclass(frozen=True, slots=True)
class Planned:
    status: Obj
    #: When the progress deadline has to be looked at again.
    requeue_after_seconds: float | None


def plan_status(observed: Observed, fresh: Condition | None, now: datetime) -> Planned:
    """``fresh`` is a Progressing condition that the actions of this sync brought (set created, creation failed)."""
    deployment, new = observed.deployment, observed.new
    old_status: Obj = deployment.get("status") or {}
    status = _counts(observed)
    listed: list[Condition] = list(old_status.get("conditions") or ())
    listed = conditions.put(listed, _available(deployment, status, now))
    deadline = facts.deadline_seconds(deployment)
    if deadline is None:
        listed = conditions.drop(listed, "Progressing")
    elif deployment["spec"].get("paused") or _was_paused(listed):
        listed = _pause_or_resume(deployment, listed, now)
    else:
        if fresh is None and new is not None and conditions.find(listed, "Progressing") is None:
            message = f'Found new replica set "{new["metadata"]["name"]}"'
            fresh = conditions.make("Progressing", "True", "FoundNewReplicaSet", message, now, updated=True)
        if fresh is not None:
            listed = conditions.put(listed, fresh)
        listed = _progress(observed, status, listed, deadline, now)
    failure = _replica_failure(new, observed.sets)
    listed = conditions.drop(listed, "ReplicaFailure") if failure is None else conditions.put(listed, failure)
    if listed:
        status["conditions"] = listed
    wait = None
    if deadline is not None and not deployment["spec"].get("paused"):
        wait = _until_deadline(deployment, status, listed, deadline, now)
    return Planned(status, wait)


def with_collision(deployment: Obj) -> Obj:
    """The status after a template hash met a foreign ReplicaSet of the same name."""
    status = dict(deployment.get("status") or {})
    status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
    return status


def created_condition(name: str, now: datetime) -> Condition:
    message = f'Created new replica set "{name}"'
    return conditions.make("Progressing", "True", "NewReplicaSetCreated", message, now, updated=True)


def create_failed_condition(name: str, error: str, now: datetime) -> Condition:
    message = f'Failed to create new replica set "{name}": {error}'
    return conditions.make("Progressing", "False", "ReplicaSetCreateError", message, now, updated=True)


def _counts(observed: Observed) -> Obj:
    deployment, new, sets = observed.deployment, observed.new, observed.sets
    available = facts.total_status(sets, "availableReplicas")
    status: Obj = {}
    for field, count in (
        ("observedGeneration", int(deployment["metadata"].get("generation") or 0)),
        ("replicas", facts.total_status(sets, "replicas")),
        ("updatedReplicas", facts.status_count(new, "replicas") if new is not None else 0),
        ("readyReplicas", facts.total_status(sets, "readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", max(0, facts.total(sets) - available)),
        ("collisionCount", facts.status_count(deployment, "collisionCount")),
    ):
        if count:
            status[field] = count
    status["terminatingReplicas"] = facts.total_status(sets, "terminatingReplicas")
    return status


def _available(deployment: Obj, status: Obj, now: datetime) -> Condition:
    if status.get("availableReplicas", 0) >= facts.replicas(deployment) - facts.max_unavailable(deployment):
        reason, message, value = "MinimumReplicasAvailable", "Deployment has minimum availability.", "True"
    else:
        reason, value = "MinimumReplicasUnavailable", "False"
        message = "Deployment does not have minimum availability."
    return conditions.make("Available", value, reason, message, now, updated=True)


def _was_paused(listed: Sequence[Condition]) -> bool:
    condition = conditions.find(listed, "Progressing")
    return condition is not None and condition.get("reason") == PAUSED_REASON


def _pause_or_resume(deployment: Obj, listed: list[Condition], now: datetime) -> list[Condition]:
    condition = conditions.find(listed, "Progressing")
    if condition is not None and condition.get("reason") == TIMED_OUT_REASON:
        return listed
    if deployment["spec"].get("paused"):
        reason, message = PAUSED_REASON, "Deployment is paused"
    else:
        reason, message = "DeploymentResumed", "Deployment is resumed"
    return conditions.put(listed, conditions.make("Progressing", "Unknown", reason, message, now, updated=True))


def _progress(
    observed: Observed, status: Obj, listed: list[Condition], deadline: int, now: datetime
) -> list[Condition]:
    deployment = observed.deployment
    current = conditions.find(listed, "Progressing")
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if settled and current is not None and current.get("reason") == AVAILABLE_REASON:
        # Once complete, a pod that fails later does not reopen the rollout.
        return listed
    new = observed.new
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if _is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        made = conditions.make("Progressing", "True", AVAILABLE_REASON, message, now, updated=True)
        return conditions.put(listed, made)
    if _is_progressing(deployment.get("status") or {}, status):
        made = conditions.make(
            "Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", now, updated=True
        )
        if current is not None and current["status"] == "True" and current.get("lastTransitionTime"):
            made["lastTransitionTime"] = current["lastTransitionTime"]
        # Replaced even when equal: lastUpdateTime restarts the deadline.
        return [*conditions.drop(listed, "Progressing"), made]
    if _timed_out(current, deadline, now):
        message = f"{subject} has timed out progressing."
        made = conditions.make("Progressing", "False", TIMED_OUT_REASON, message, now, updated=True)
        return conditions.put(listed, made)
    return listed


def _is_complete(deployment: Obj, status: Obj) -> bool:
    wanted = facts.replicas(deployment)
    return all(status.get(field, 0) == wanted for field in ("updatedReplicas", "replicas", "availableReplicas"))


def _is_progressing(old: Obj, new: Obj) -> bool:
    def outdated(status: Obj) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    return (
        new.get("updatedReplicas", 0) > old.get("updatedReplicas", 0)
        or outdated(new) < outdated(old)
        or new.get("readyReplicas", 0) > old.get("readyReplicas", 0)
        or new.get("availableReplicas", 0) > old.get("availableReplicas", 0)
    )


def _timed_out(condition: Condition | None, deadline: int, now: datetime) -> bool:
    if condition is None or condition.get("reason") == AVAILABLE_REASON:
        return False
    if condition.get("reason") == TIMED_OUT_REASON:
        return True
    since = condition.get("lastUpdateTime") or condition.get("lastTransitionTime")
    return bool(since) and parse_time(str(since)) + timedelta(seconds=deadline) < now


def _until_deadline(
    deployment: Obj, status: Obj, listed: Sequence[Condition], deadline: int, now: datetime
) -> float | None:
    condition = conditions.find(listed, "Progressing")
    if condition is None or _is_complete(deployment, status) or condition.get("reason") == AVAILABLE_REASON:
        return None
    if condition.get("reason") == TIMED_OUT_REASON or not condition.get("lastUpdateTime"):
        return None
    due = parse_time(condition["lastUpdateTime"]) + timedelta(seconds=deadline)
    # One second more: times on the wire have whole seconds.
    return max(1.0, (due - now).total_seconds() + 1)


def _replica_failure(new: Obj | None, sets: Sequence[Obj]) -> Condition | None:
    for rs in ([new] if new is not None else []) + list(sets):
        condition = conditions.find((rs.get("status") or {}).get("conditions"), "ReplicaFailure")
        if condition is not None and condition.get("status") == "True":
            copied = condition.copy()
            copied["lastUpdateTime"] = condition.get("lastUpdateTime") or condition.get("lastTransitionTime") or ""
            return copied
    return None
