"""Decides for one ReplicaSet: how many pods to create, which to delete, what status to report. Pure.

The shell is ``controller.py``. Behaviour: upstream ``pkg/controller/replicaset`` (``manageReplicas``,
``calculateStatus``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from sampan.api import objects
from sampan.api.pods import status as podstatus
from sampan.api.types import Condition, Obj
from sampan.controllers.workload import conditions, ranking
from sampan.records import dataclass

#: At most this many creates or deletes a sync; the rest follows in the next.
BURST = 500


class Standing(NamedTuple):
    """What a pod counts as."""

    active: bool
    #: it is being deleted and has not ended
    terminating: bool
    #: it has the template's labels
    labelled: bool
    ready: bool
    #: where the owner asks for how long
    ready_since: datetime | None


def reader(owner: Obj) -> Callable[[Obj], Standing]:
    """Reads one pod after the other for an owner whose spec stays as it is."""
    wanted = objects.get_path(owner, "spec", "template", "metadata", "labels", default={}).items()
    timed = _min_ready_seconds(owner) > 0

    def standing(pod: Obj) -> Standing:
        ended, leaving = podstatus.is_terminal(pod), podstatus.is_terminating(pod)
        ready = podstatus.is_ready(pod)
        return Standing(
            active=not ended and not leaving,
            terminating=leaving and not ended,
            labelled=wanted <= (pod["metadata"].get("labels") or {}).items(),
            ready=ready,
            ready_since=podstatus.ready_since(pod) if ready and timed else None,
        )

    return standing


def _traits_of_all(pods: Sequence[Obj]) -> list[ranking.Traits]:
    return list(map(ranking.traits, pods))


@dataclass(frozen=True)
class Observed:
    """One snapshot. ``pods`` are those the owner controls; ``related`` all active pods below the owner's owner.
    ``read`` and ``read_traits``: what may remember what it said before; the latter is asked where some have to go."""

    owner: Obj
    pods: Sequence[Obj]
    related: Sequence[Obj]
    read: Callable[[Sequence[Obj]], Sequence[Standing]] | None = None
    read_traits: ranking.Reader = _traits_of_all

    @cached_property
    def standings(self) -> Sequence[Standing]:
        """Of each pod."""
        return self.read(self.pods) if self.read is not None else list(map(reader(self.owner), self.pods))


@dataclass(frozen=True, slots=True)
class Plan:
    """``age_ratios``: for a metric, where some were chosen among others."""

    create: int = 0
    delete: tuple[Obj, ...] = ()
    age_ratios: tuple[int, ...] = ()


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
    active = [pod for pod, is_a in zip(observed.pods, observed.standings, strict=True) if is_a.active]
    missing = wanted_replicas(observed.owner) - len(active)
    if missing > 0:
        return Plan(create=min(missing, BURST))
    if missing < 0:
        go, read = min(-missing, BURST), observed.read_traits
        victims = ranking.first_to_go(active, go, observed.related, now, read)
        if len(victims) == len(active):
            return Plan(delete=tuple(victims))
        ratios = ranking.age_ratios(read(active), read(victims), now)
        return Plan(delete=tuple(victims), age_ratios=tuple(ratios))
    return Plan()


def plan_status(observed: Observed, failure: Failure | None, now: datetime) -> tuple[Obj, float | None]:
    """The status, and after how many seconds a pod's minReadySeconds will change it."""
    owner = observed.owner
    min_ready = _min_ready_seconds(owner)
    active = labelled = ready = available = terminating = 0
    later: list[float] = []
    # Of a thousand pods most stand alike.
    for pod, count in Counter(observed.standings).items():
        terminating += count if pod.terminating else 0
        if not pod.active:
            continue
        active += count
        labelled += count if pod.labelled else 0
        wait = _available_in_seconds(pod, min_ready, now)
        ready += count if wait is not None else 0
        available += count if wait == 0 else 0
        if wait:
            later.append(wait)
    old = owner.get("status") or {}
    status: Obj = {"replicas": active}
    for field, count in (
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
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


def _min_ready_seconds(owner: Obj) -> int:
    return int(owner["spec"].get("minReadySeconds") or 0)


def _available_in_seconds(pod: Standing, min_ready: int, now: datetime) -> float | None:
    """As ``podstatus.available_in_seconds``."""
    if not pod.ready:
        return None
    if min_ready == 0:
        return 0.0
    return None if pod.ready_since is None else max(0.0, (pod.ready_since - now).total_seconds() + min_ready)


def _failure_conditions(present: Sequence[Condition] | None, failure: Failure | None, now: datetime) -> list[Condition]:
    if failure is None:
        return conditions.drop(present, "ReplicaFailure")
    made = conditions.make("ReplicaFailure", "True", failure.reason, failure.message, now)
    return conditions.put(present, made)
