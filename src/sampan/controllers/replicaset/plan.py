"""Decides for one ReplicaSet: how many pods to create, which to delete, what status to report. Pure.

The shell is ``controller.py``. Behaviour: upstream ``pkg/controller/replicaset`` (``manageReplicas``,
``calculateStatus``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sampan.api.clock import parse_time
from sampan.api.pods import status as podstatus
from sampan.api.types import Condition, Obj
from sampan.controllers.workload import conditions, ranking
from sampan.records import dataclass

#: At most this many creates or deletes a sync; the rest follows in the next.
BURST = 500


@dataclass(frozen=True, slots=True)
class Observed:
    """One snapshot. ``pods`` are those the owner controls; ``related`` all active pods below the owner's owner."""

    owner: Obj
    pods: Sequence[Obj]
    related: Sequence[Obj]


@dataclass(frozen=True, slots=True)
class Plan:
    create: int = 0
    delete: tuple[Obj, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last create or delete did not work: the ReplicaFailure condition."""

    reason: str
    message: str


def wanted_replicas(owner: Obj) -> int:
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def plan(observed: Observed, now: datetime) -> Plan:
    if "deletionTimestamp" in observed.owner["metadata"]:
        return Plan()
    active = [pod for pod in observed.pods if podstatus.is_active(pod)]
    missing = wanted_replicas(observed.owner) - len(active)
    if missing > 0:
        return Plan(create=min(missing, BURST))
    if missing < 0:
        victims = ranking.ranked_for_deletion(active, observed.related, now)
        return Plan(delete=tuple(victims[: min(-missing, BURST)]))
    return Plan()


def age_ratios(pods: Sequence[Obj], victims: Sequence[Obj], now: datetime) -> list[int]:
    """Of the Ready ones that go: how many times as old as the youngest Ready pod. Whole numbers, as upstream's."""
    created = [_created(pod) for pod in pods if podstatus.is_active(pod) and podstatus.is_ready(pod)]
    if not created:
        return []
    youngest = (now - max(created)) // timedelta(milliseconds=1)
    ages = [(now - _created(pod)) // timedelta(milliseconds=1) for pod in victims if podstatus.is_ready(pod)]
    return [age // youngest for age in ages] if youngest > 0 else []


def _created(pod: Obj) -> datetime:
    return parse_time(pod["metadata"]["creationTimestamp"])


def plan_status(
    observed: Observed, template_labels: Mapping[str, str], failure: Failure | None, now: datetime
) -> tuple[Obj, float | None]:
    """The status, and after how many seconds a pod's minReadySeconds will change it."""
    owner = observed.owner
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    active = [pod for pod in observed.pods if podstatus.is_active(pod)]
    terminating = sum(1 for pod in observed.pods if podstatus.is_terminating(pod) and not podstatus.is_terminal(pod))
    labelled = sum(1 for pod in active if template_labels.items() <= (pod["metadata"].get("labels") or {}).items())
    waits = [podstatus.available_in_seconds(pod, min_ready, now) for pod in active]
    later = [wait for wait in waits if wait]
    old = owner.get("status") or {}
    status: Obj = {"replicas": len(active)}
    for field, count in (
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", sum(1 for wait in waits if wait is not None)),
        ("availableReplicas", sum(1 for wait in waits if wait == 0)),
    ):
        if count:
            status[field] = count
    if owner.get("kind") == "ReplicaSet":
        # ReplicationController has no such field.
        status["terminatingReplicas"] = terminating
    if owner["metadata"].get("generation"):
        status["observedGeneration"] = owner["metadata"]["generation"]
    listed = _failure_conditions(old.get("conditions"), failure, now)
    if listed:
        status["conditions"] = listed
    return status, min(later, default=None)


def _failure_conditions(present: Sequence[Condition] | None, failure: Failure | None, now: datetime) -> list[Condition]:
    if failure is None:
        return conditions.drop(present, "ReplicaFailure")
    made = conditions.make("ReplicaFailure", "True", failure.reason, failure.message, now)
    return conditions.put(present, made)
