"""Decides the next writes of a rollout. Pure; one stage a call, as upstream's ``pkg/controller/deployment``.

Safety: after every prefix of a rolling plan at least ``replicas - maxUnavailable`` pods that were available stay, and
the sets never ask for more than ``replicas + maxSurge``. The shell applies the actions, takes a new snapshot and asks
again, until there is nothing to do; then status is written (``status.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

from sampan.api import objects
from sampan.api.pods import status as podstatus
from sampan.api.resources import DEPLOYMENTS
from sampan.api.types import Obj
from sampan.controllers.deployment import facts
from sampan.controllers.workload import history
from sampan.controllers.workload.claims import controller_reference
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class CreateSet:
    replica_set: Obj


@dataclass(frozen=True, slots=True)
class ScaleSet:
    """Sets replicas and the size annotations; written only when something differs."""

    replica_set: Obj
    replicas: int


@dataclass(frozen=True, slots=True)
class AnnotateSet:
    replica_set: Obj
    annotations: dict[str, str]
    #: None: stays.
    min_ready_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteSet:
    replica_set: Obj


@dataclass(frozen=True, slots=True)
class SetRevision:
    """The Deployment's own revision annotation."""

    revision: str


Action: TypeAlias = CreateSet | ScaleSet | AnnotateSet | DeleteSet | SetRevision


@dataclass(frozen=True)
class Observed:
    """One snapshot. ``sets`` are those the Deployment controls; ``pods`` by uid of their set."""

    deployment: Obj
    sets: Sequence[Obj]
    pods: dict[str, list[Obj]]

    @cached_property
    def new(self) -> Obj | None:
        return facts.find_new(self.deployment, self.sets)

    @cached_property
    def old(self) -> list[Obj]:
        new = self.new
        return [rs for rs in self.sets if new is None or rs["metadata"]["uid"] != new["metadata"]["uid"]]


def plan(observed: Observed) -> list[Action]:
    """The next actions, in order; empty when the rollout can only wait or is complete."""
    deployment = observed.deployment
    if objects.is_deleting(deployment):
        return []
    new, old = observed.new, observed.old
    named = _plan_revision(deployment, new, old)
    if deployment["spec"].get("paused"):
        return [*named, *_plan_scale(deployment, new, old), *_plan_cleanup(deployment, old)]
    if named:
        return named
    if _was_resized(deployment, observed.sets):
        resized = _plan_scale(deployment, new, old)
        if resized:
            return resized
    rolling = facts.is_rolling(deployment)
    steps = _plan_rolling(deployment, new, old) if rolling else _plan_recreate(observed, new, old)
    if steps:
        return steps
    return _plan_cleanup(deployment, old) if _is_complete(deployment, new, observed.sets) else []


def _was_resized(deployment: Obj, sets: Sequence[Obj]) -> bool:
    wanted = facts.replicas(deployment)
    desired = (facts.desired_annotation(rs) for rs in facts.active(sets))
    return any(value is not None and value != wanted for value in desired)


def _is_complete(deployment: Obj, new: Obj | None, sets: Sequence[Obj]) -> bool:
    wanted = facts.replicas(deployment)
    return (
        new is not None
        and facts.status_count(new, "replicas") == wanted
        and facts.status_count(new, "availableReplicas") == wanted
        and facts.total_status(sets, "replicas") == wanted
    )


# Revisions


def _plan_revision(deployment: Obj, new: Obj | None, old: Sequence[Obj]) -> list[Action]:
    """The new set carries the highest revision, and the Deployment the same one."""
    if new is None:
        return []
    highest = history.next_number(facts.revision(rs) for rs in old)
    wanted = dict(facts.inherited_annotations(deployment))
    current = facts.revision(new)
    if current < highest:
        wanted[facts.REVISION] = str(highest)
        if current:
            # An old template came back: remember under which numbers it was known.
            known = [part for part in facts.annotation(new, facts.REVISION_HISTORY).split(",") if part]
            known.append(str(current))
            while len(",".join(known)) > facts.REVISION_HISTORY_LIMIT_CHARS:
                known.pop(0)
            wanted[facts.REVISION_HISTORY] = ",".join(known)
    changed = {key: value for key, value in wanted.items() if facts.annotation(new, key) != value}
    min_ready = int(deployment["spec"].get("minReadySeconds") or 0)
    differs = min_ready != int(new["spec"].get("minReadySeconds") or 0)
    actions: list[Action] = []
    if changed or differs:
        actions.append(AnnotateSet(new, changed, min_ready if differs else None))
    revision = str(max(current, highest))
    if facts.annotation(deployment, facts.REVISION) != revision:
        actions.append(SetRevision(revision))
    return actions


def new_set(deployment: Obj, sets: Sequence[Obj]) -> Obj:
    """The ReplicaSet for the Deployment's present template."""
    spec = deployment["spec"]
    collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
    code = facts.template_hash(spec["template"], collisions)
    template = objects.deep_copy(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[facts.HASH_LABEL] = code
    selector = objects.deep_copy(spec["selector"])
    selector.setdefault("matchLabels", {})[facts.HASH_LABEL] = code
    made: Obj = {
        "replicas": _new_set_replicas(deployment, None, sets),
        "selector": selector,
        "template": template,
    }
    if spec.get("minReadySeconds"):
        made["minReadySeconds"] = spec["minReadySeconds"]
    revision = history.next_number(facts.revision(rs) for rs in sets)
    meta = deployment["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{code}",
            "namespace": meta["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {
                **facts.inherited_annotations(deployment),
                **facts.replicas_annotations(deployment),
                facts.REVISION: str(revision),
            },
            "ownerReferences": [controller_reference(deployment, DEPLOYMENTS)],
        },
        "spec": made,
    }


def _new_set_replicas(deployment: Obj, new: Obj | None, sets: Sequence[Obj]) -> int:
    wanted = facts.replicas(deployment)
    if not facts.is_rolling(deployment):
        return wanted
    present = facts.replicas(new) if new is not None else 0
    room = wanted + facts.max_surge(deployment) - facts.total(sets)
    return present if room <= 0 else present + min(room, wanted - present)


# Rolling


def _plan_rolling(deployment: Obj, new: Obj | None, old: list[Obj]) -> list[Action]:
    sets = [*old, *([new] if new else [])]
    if new is None:
        return [CreateSet(new_set(deployment, sets))]
    wanted = facts.replicas(deployment)
    present = facts.replicas(new)
    if present != wanted:
        target = wanted if present > wanted else _new_set_replicas(deployment, new, sets)
        if target != present:
            return [ScaleSet(new, target)]
    return _plan_scale_down_old(deployment, new, old)


def _plan_scale_down_old(deployment: Obj, new: Obj, old: list[Obj]) -> list[Action]:
    """First pods that do not serve anyway, then as many serving ones as are above the minimum."""
    if facts.total(old) == 0:
        return []
    sets = [*old, new]
    minimum = facts.replicas(deployment) - facts.max_unavailable(deployment)
    new_unavailable = facts.replicas(new) - facts.status_count(new, "availableReplicas")
    budget = facts.total(sets) - minimum - new_unavailable
    if budget <= 0:
        return []
    sizes = {rs["metadata"]["uid"]: facts.replicas(rs) for rs in old}
    ordered = history.by_creation(old)
    cleaned = 0
    for rs in ordered:
        uid = rs["metadata"]["uid"]
        unhealthy = sizes[uid] - min(sizes[uid], facts.status_count(rs, "availableReplicas"))
        gone = min(budget - cleaned, unhealthy)
        sizes[uid] -= gone
        cleaned += gone
    spare = facts.total_status(sets, "availableReplicas") - minimum
    for rs in ordered:
        if spare <= 0:
            break
        uid = rs["metadata"]["uid"]
        gone = min(sizes[uid], spare)
        sizes[uid] -= gone
        spare -= gone
    return [
        ScaleSet(rs, sizes[rs["metadata"]["uid"]])
        for rs in ordered
        if sizes[rs["metadata"]["uid"]] != facts.replicas(rs)
    ]


# Recreate


def _plan_recreate(observed: Observed, new: Obj | None, old: list[Obj]) -> list[Action]:
    running = facts.active(old)
    if running:
        return [ScaleSet(rs, 0) for rs in running]
    new_uid = new["metadata"]["uid"] if new is not None else ""
    for uid, pods in observed.pods.items():
        if uid != new_uid and any(not podstatus.is_terminal(pod) for pod in pods):
            # Also terminating ones: two versions must never run together.
            return []
    if new is None:
        return [CreateSet(new_set(observed.deployment, old))]
    wanted = facts.replicas(observed.deployment)
    return [ScaleSet(new, wanted)] if facts.replicas(new) != wanted else []


# Scaling, history


def _plan_scale(deployment: Obj, new: Obj | None, old: list[Obj]) -> list[Action]:
    """A Deployment whose size changed, or that is paused, keeps the proportions between its sets."""
    wanted = facts.replicas(deployment)
    single = facts.active_or_latest(new, old)
    if single is not None:
        return _resize(deployment, single, wanted)
    if facts.is_saturated(deployment, new):
        return [ScaleSet(rs, 0) for rs in facts.active(old)]
    if not facts.is_rolling(deployment):
        return []
    sets = facts.active([*old, *([new] if new else [])])
    present = facts.total(sets)
    allowed = wanted + facts.max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - present
    # Larger sets change first; of equal ones the newer grows and the older shrinks.
    ordered = history.by_creation(sets)
    if to_add > 0:
        ordered.reverse()
    ordered.sort(key=facts.replicas, reverse=True)
    added = 0
    sizes = []
    for rs in ordered:
        share = _proportion(deployment, rs, to_add, added) if to_add else 0
        added += share
        sizes.append(facts.replicas(rs) + share)
    if ordered and to_add:
        sizes[0] = max(0, sizes[0] + to_add - added)
    actions: list[Action] = []
    for rs, size in zip(ordered, sizes, strict=True):
        actions.extend(_resize(deployment, rs, size))
    return actions


def _resize(deployment: Obj, rs: Obj, size: int) -> list[Action]:
    stale = any(facts.annotation(rs, key) != value for key, value in facts.replicas_annotations(deployment).items())
    return [ScaleSet(rs, size)] if stale or facts.replicas(rs) != size else []


def _proportion(deployment: Obj, rs: Obj, to_add: int, added: int) -> int:
    size = facts.replicas(rs)
    if size == 0 or to_add == added:
        return 0
    fraction = _fraction(deployment, rs)
    allowed = to_add - added
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _fraction(deployment: Obj, rs: Obj) -> int:
    size, wanted = facts.replicas(rs), facts.replicas(deployment)
    if wanted == 0:
        return -size
    text = facts.annotation(rs, facts.MAX)
    before = int(text) if text.isdigit() and int(text) else facts.status_count(deployment, "replicas")
    if not before:
        return 0
    # Rounded half away from zero, in integers.
    grown = (2 * size * (wanted + facts.max_surge(deployment)) + before) // (2 * before)
    return grown - size


def _plan_cleanup(deployment: Obj, old: Sequence[Obj]) -> list[Action]:
    limit = deployment["spec"].get("revisionHistoryLimit")
    return [DeleteSet(rs) for rs in history.surplus(old, limit, facts.revision, _is_empty)]


def _is_empty(rs: Obj) -> bool:
    seen = int((rs.get("status") or {}).get("observedGeneration") or 0)
    return (
        facts.replicas(rs) == 0
        and facts.status_count(rs, "replicas") == 0
        and int(rs["metadata"].get("generation") or 0) <= seen
    )
