"""Decides for one StatefulSet what comes next: pods to create, repair and delete, in order, and the status. Pure.

Three rounds, each only when those before it leave nothing to wait for: every wanted pod is there (upstream
``processReplica``); those beyond the last go (``processCondemned``); old ones give way to the new revision. Ordered
sets stop at the first pod that has to be waited for. The shell is ``controller.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sampan.api import objects
from sampan.api.pods import status as podstatus
from sampan.api.reading import part, whole
from sampan.api.types import Obj
from sampan.controllers.statefulset import facts, retention


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
    """One snapshot. ``pods`` are the set's own; ``claims`` by name, those of its namespace that its pods may use.
    ``current`` and ``update``: names of revisions, and ``current_template`` that of the former."""

    stateful_set: Obj
    pods: Sequence[Obj]
    claims: Mapping[str, Obj]
    current: str
    update: str
    current_template: Obj
    now: datetime

    @cached_property
    def slots(self) -> list[Obj]:
        """The wanted pods by ordinal: those that are there, and in the place of the others what is to be made."""
        present = {facts.ordinal(pod): pod for pod in self.pods}
        first = facts.start(self.stateful_set)
        numbers = range(first, first + facts.replicas(self.stateful_set))
        return [present[number] if number in present else self.make(number) for number in numbers]

    @cached_property
    def condemned(self) -> list[Obj]:
        """Those beyond the wanted ones, last first."""
        beyond = [pod for pod in self.pods if not facts.is_wanted(self.stateful_set, facts.ordinal(pod))]
        return sorted(beyond, key=facts.ordinal, reverse=True)

    def make(self, number: int) -> Obj:
        owner = self.stateful_set
        stays = facts.rolls(owner) and number < facts.start(owner) + facts.partition(owner)
        template = self.current_template if stays else part(part(owner, "spec"), "template")
        return facts.make_pod(owner, template, self.current if stays else self.update, number)

    def is_unavailable(self, pod: Obj) -> bool:
        return not is_made(pod) or facts.is_unavailable(self.stateful_set, pod, self.now)

    def missing_claims(self, pod: Obj) -> list[Obj]:
        """Those of a pod that are not there, as they are to be made."""
        number = facts.ordinal(pod)
        found = []
        for claim in facts.claims(self.stateful_set, number).values():
            if claim["metadata"]["name"] in self.claims:
                continue
            if owned := retention.owners(self.stateful_set, number, pod if is_made(pod) else None):
                claim["metadata"]["ownerReferences"] = owned
            found.append(claim)
        return found

    def present_claims(self, pod: Obj) -> list[Obj]:
        names = [claim["metadata"]["name"] for claim in facts.claims(self.stateful_set, facts.ordinal(pod)).values()]
        return [self.claims[name] for name in names if name in self.claims]


def is_made(pod: Obj) -> bool:
    """It is in the API, not only planned."""
    return bool(pod["metadata"].get("uid"))


@dataclass(slots=True)
class _Turn:
    actions: list[Action] = field(default_factory=list)
    #: nothing more may be done before the next look
    over: bool = False


def plan(observed: Observed) -> list[Action]:
    """In the order in which they are to be done."""
    owner = observed.stateful_set
    if objects.is_deleting(owner):
        return []
    turn = _Turn()
    for pod in observed.slots:
        _keep(observed, pod, turn)
        if turn.over:
            return turn.actions
    for pod in observed.condemned:
        _settle_claims(observed, pod, turn)
    first_unavailable = next(
        (pod for pod in (*observed.slots, *reversed(observed.condemned)) if observed.is_unavailable(pod)), None
    )
    for pod in observed.condemned:
        _give_up(observed, pod, first_unavailable, turn)
        if turn.over:
            return turn.actions
    if facts.rolls(owner):
        turn.actions += _roll(observed)
    return turn.actions


def _keep(observed: Observed, pod: Obj, turn: _Turn) -> None:
    """One wanted pod: made, made again when it ended, repaired."""
    owner, ordered = observed.stateful_set, facts.is_ordered(observed.stateful_set)
    if podstatus.is_terminal(pod):
        if not podstatus.is_terminating(pod):
            turn.actions.append(DeletePod(pod))
        turn.over = ordered
        return
    if not is_made(pod):
        claims = observed.present_claims(pod)
        if any(retention.is_stale(claim, pod) or objects.is_deleting(claim) for claim in claims):
            turn.over = ordered
            return
        turn.actions.append(CreatePod(pod, observed.missing_claims(pod)))
        turn.over = ordered
        return
    if podstatus.phase(pod) == "Pending" and (missing := observed.missing_claims(pod)):
        turn.actions.append(CreateClaims(pod, missing))
    if ordered and observed.is_unavailable(pod):
        turn.over = True
        return
    if not podstatus.is_terminating(pod) and not facts.has_identity(owner, pod):
        turn.actions.append(RepairPod(facts.with_identity(owner, pod, facts.ordinal(pod))))
    _settle_claims(observed, pod, turn)


def _settle_claims(observed: Observed, pod: Obj, turn: _Turn) -> None:
    for claim in observed.present_claims(pod):
        if retention.is_of_another_controller(observed.stateful_set, pod, claim):
            if retention.owners(observed.stateful_set, facts.ordinal(pod), pod):
                turn.actions.append(TellConflict(claim))
        elif (corrected := retention.corrected(observed.stateful_set, pod, claim)) is not None:
            turn.actions.append(OwnClaim(corrected))


def _give_up(observed: Observed, pod: Obj, first_unavailable: Obj | None, turn: _Turn) -> None:
    """One pod beyond the wanted. An ordered set waits for all others to be well, or for the ill one to be its turn."""
    ordered = facts.is_ordered(observed.stateful_set)
    if podstatus.is_terminating(pod):
        turn.over = ordered
        return
    if ordered and observed.is_unavailable(pod) and pod is not first_unavailable:
        turn.over = True
        return
    turn.actions.append(DeletePod(pod))
    turn.over = ordered


def _roll(observed: Observed) -> list[Action]:
    """Old pods from the last to the first, as many at once as may be missing."""
    owner, slots = observed.stateful_set, observed.slots
    may_go = facts.max_unavailable(owner) - sum(map(observed.is_unavailable, slots))
    found: list[Action] = []
    for index in range(len(slots) - 1, facts.partition(owner) - 1, -1):
        if len(found) >= may_go:
            break
        pod = slots[index]
        if is_made(pod) and facts.revision_of(pod) != observed.update and not podstatus.is_terminating(pod):
            found.append(DeletePod(pod))
    return found


def plan_status(observed: Observed) -> tuple[Obj, float | None]:
    """The status, and after how many seconds a pod's minReadySeconds will change it."""
    owner, old = observed.stateful_set, part(observed.stateful_set, "status")
    waits = [facts.available_in(owner, pod, observed.now) for pod in observed.pods]
    staying = [pod for pod in observed.pods if not podstatus.is_terminating(pod)]
    revisions = [facts.revision_of(pod) for pod in staying]
    total, ready = len(observed.pods), sum(wait is not None for wait in waits)
    updated = revisions.count(observed.update)
    done = facts.rolls(owner) and updated == total == ready
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
