"""Decides for one StatefulSet what comes next: pods to create, repair and delete, in order, and the status. Pure.

Three rounds, each only when those before it leave nothing to wait for: every wanted pod is there (upstream
``processReplica``); those beyond the last go (``processCondemned``); old ones give way to the new revision. Ordered
sets stop at the first pod that has to be waited for. The shell is ``controller.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

from sampan.api import objects
from sampan.api.reading import part, whole
from sampan.api.types import Obj
from sampan.controllers.statefulset import facts, retention
from sampan.controllers.statefulset.facts import Standing

#: At most this many pods are made a sync, however many are missing; the rest follows in the next.
BURST: Final = 500


@dataclass(frozen=True, slots=True)
class CreatePod:
    """With its claims, as far as they are not there."""

    pod: Obj
    claims: Sequence[Obj]


@dataclass(frozen=True, slots=True)
class DeletePod:
    pod: Obj


@dataclass(frozen=True, slots=True)
class RepairPod:
    """Its labels are not what its name says. ``pod``: as it should be."""

    pod: Obj


@dataclass(frozen=True, slots=True)
class CreateClaims:
    """A pod waits for claims that somebody deleted."""

    pod: Obj
    claims: Sequence[Obj]


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """``claim``: with the owners that the retention policy gives it."""

    claim: Obj


@dataclass(frozen=True, slots=True)
class TellConflict:
    """Another controller owns the claim, so the retention policy is not followed."""

    claim: Obj


Action = CreatePod | DeletePod | RepairPod | CreateClaims | OwnClaim | TellConflict


@dataclass(frozen=True)
class Observed:
    """One snapshot. ``pods`` are the set's own; ``claim``: one of its namespace, by name. ``current`` and ``update``:
    names of revisions, and ``current_template`` that of the former. ``read``: what may remember what it said before."""

    stateful_set: Obj
    pods: Sequence[Obj]
    claim: Callable[[str], Obj | None]
    current: str
    update: str
    current_template: Obj
    now: datetime
    read: Callable[[Sequence[Obj]], Sequence[Standing]] | None = None

    @cached_property
    def standings(self) -> Sequence[Standing]:
        if self.read is not None:
            return self.read(self.pods)
        return [facts.standing(self.stateful_set, pod) for pod in self.pods]

    @cached_property
    def wanted(self) -> dict[int, Standing]:
        """Of the wanted pods those that are there, by ordinal, the first one first."""
        wanted = facts.wanted(self.stateful_set)
        return {pod.ordinal: pod for pod in sorted(self.standings, key=_ordinal) if pod.ordinal in wanted}

    @cached_property
    def condemned(self) -> list[Standing]:
        """Those beyond the wanted ones, last first."""
        wanted = facts.wanted(self.stateful_set)
        beyond = [pod for pod in self.standings if pod.ordinal not in wanted]
        return sorted(beyond, key=_ordinal, reverse=True)

    @cached_property
    def unavailable(self) -> int:
        """How many of the wanted pods are missing or not available."""
        missing = facts.replicas(self.stateful_set) - len(self.wanted)
        return missing + sum(pod.is_unavailable(self.now) for pod in self.wanted.values())

    @cached_property
    def has_claims(self) -> bool:
        return bool(facts.claim_names(self.stateful_set, 0))

    @cached_property
    def retains(self) -> bool:
        """No claim is ever owned by the set or a pod."""
        return retention.retains(self.stateful_set)

    def make(self, number: int) -> Obj:
        owner = self.stateful_set
        stays = facts.rolls(owner) and number < facts.start(owner) + facts.partition(owner)
        template = self.current_template if stays else part(part(owner, "spec"), "template")
        return facts.make_pod(owner, template, self.current if stays else self.update, number)

    def missing_claims(self, number: int, pod: Obj | None) -> list[Obj]:
        """Those of an ordinal that are not there, as they are to be made. ``pod``: its own, if it is there."""
        owner = self.stateful_set
        if not self.has_claims or all(
            self.claim(name) is not None for name in facts.claim_names(owner, number).values()
        ):
            return []
        found = []
        for claim in facts.claims(owner, number).values():
            if self.claim(claim["metadata"]["name"]) is not None:
                continue
            if owned := retention.owners(owner, number, pod):
                claim["metadata"]["ownerReferences"] = owned
            found.append(claim)
        return found

    def present_claims(self, number: int) -> list[Obj]:
        if not self.has_claims:
            return []
        found = (self.claim(name) for name in facts.claim_names(self.stateful_set, number).values())
        return [claim for claim in found if claim is not None]


@dataclass(slots=True)
class _Turn:
    actions: list[Action] = field(default_factory=list)
    #: nothing more may be done before the next look
    over: bool = False
    #: pods to make
    made: int = 0


def plan(observed: Observed) -> list[Action]:
    """In the order in which they are to be done."""
    owner = observed.stateful_set
    if objects.is_deleting(owner):
        return []
    turn, ordered = _Turn(), facts.is_ordered(owner)
    for number in facts.wanted(owner):
        pod = observed.wanted.get(number)
        if pod is None:
            _make(observed, number, turn)
        else:
            _keep(observed, pod, ordered, turn)
        if turn.over:
            return turn.actions
    for pod in observed.condemned:
        _settle_claims(observed, pod, turn)
    # An ordered set that gets here misses none of the wanted.
    first_unavailable = next((pod for pod in reversed(observed.condemned) if pod.is_unavailable(observed.now)), None)
    for pod in observed.condemned:
        _give_up(observed, pod, first_unavailable, turn)
        if turn.over:
            return turn.actions
    if facts.rolls(owner):
        turn.actions += _roll(observed)
    return turn.actions


def _make(observed: Observed, number: int, turn: _Turn) -> None:
    """One wanted pod that is not there, unless a claim of its predecessor still is."""
    turn.over = facts.is_ordered(observed.stateful_set)
    name = facts.name_of(observed.stateful_set, number)
    if any(retention.is_stale(claim, name) or objects.is_deleting(claim) for claim in observed.present_claims(number)):
        return
    turn.actions.append(CreatePod(observed.make(number), observed.missing_claims(number, None)))
    turn.made += 1
    turn.over = turn.over or turn.made == BURST


def _keep(observed: Observed, pod: Standing, ordered: bool, turn: _Turn) -> None:
    """One wanted pod that is there: given up when it ended, repaired."""
    if pod.is_terminal:
        if not pod.is_terminating:
            turn.actions.append(DeletePod(pod.pod))
        turn.over = ordered
        return
    if pod.phase == "Pending" and (missing := observed.missing_claims(pod.ordinal, pod.pod)):
        turn.actions.append(CreateClaims(pod.pod, missing))
    if ordered and pod.is_unavailable(observed.now):
        turn.over = True
        return
    if not pod.is_terminating and not pod.has_identity:
        turn.actions.append(RepairPod(facts.with_identity(observed.stateful_set, pod.pod, pod.ordinal)))
    _settle_claims(observed, pod, turn)


def _settle_claims(observed: Observed, standing: Standing, turn: _Turn) -> None:
    owner, number, pod = observed.stateful_set, standing.ordinal, standing.pod
    for claim in observed.present_claims(number):
        if not objects.owner_references(claim) and (observed.retains or not retention.owners(owner, number, pod)):
            continue  # nobody's, as it should be
        if retention.is_of_another_controller(owner, pod, claim):
            if retention.owners(owner, number, pod):
                turn.actions.append(TellConflict(claim))
        elif (corrected := retention.corrected(owner, pod, claim)) is not None:
            turn.actions.append(OwnClaim(corrected))


def _give_up(observed: Observed, pod: Standing, first_unavailable: Standing | None, turn: _Turn) -> None:
    """One pod beyond the wanted. An ordered set waits for all others to be well, or for the ill one to be its turn."""
    ordered = facts.is_ordered(observed.stateful_set)
    if pod.is_terminating:
        turn.over = ordered
        return
    if ordered and pod.is_unavailable(observed.now) and pod is not first_unavailable:
        turn.over = True
        return
    turn.actions.append(DeletePod(pod.pod))
    turn.over = ordered


def _roll(observed: Observed) -> list[Action]:
    """Old pods from the last to the first, as many at once as may be missing. Of a parallel set those that are not
    available anyway go first and do not count: the old revision may be what ails them."""
    owner = observed.stateful_set
    first = facts.start(owner) + facts.partition(owner)
    old = [
        pod
        for number, pod in reversed(observed.wanted.items())
        if number >= first and pod.revision != observed.update and not (pod.is_terminating or pod.is_terminal)
    ]
    if not old:
        return []
    may_go = max(0, facts.max_unavailable(owner) - observed.unavailable)
    if facts.is_ordered(owner):
        return [DeletePod(pod.pod) for pod in old[:may_go]]
    ill = [pod for pod in old if pod.is_unavailable(observed.now)]
    well = [pod for pod in old if not pod.is_unavailable(observed.now)]
    return [DeletePod(pod.pod) for pod in ill + well[:may_go]]


def plan_status(observed: Observed) -> tuple[Obj, float | None]:
    """The status, and after how many seconds a pod's minReadySeconds will change it."""
    owner, old = observed.stateful_set, part(observed.stateful_set, "status")
    waits = [pod.available_in(observed.now) for pod in observed.standings]
    revisions = [pod.revision for pod in observed.standings if not pod.is_terminating]
    total, ready = len(observed.pods), sum(wait is not None for wait in waits)
    updated = revisions.count(observed.update)
    done = facts.rolls(owner) and updated == total == ready == facts.replicas(owner)
    status: Obj = {
        "replicas": total,
        "availableReplicas": waits.count(0),
        "currentRevision": observed.update if done else observed.current,
        "updateRevision": observed.update,
        "collisionCount": whole(old, "collisionCount") or 0,
    }
    if generation := whole(part(owner, "metadata"), "generation"):
        status["observedGeneration"] = generation
    counted = {
        "readyReplicas": ready,
        "currentReplicas": updated if done else revisions.count(observed.current),
        "updatedReplicas": updated,
    }
    status |= {key: count for key, count in counted.items() if count}
    if "conditions" in old:
        status["conditions"] = old["conditions"]
    return status, min((wait for wait in waits if wait), default=None)


def _ordinal(pod: Standing) -> int:
    return pod.ordinal
