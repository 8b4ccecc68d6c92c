"""Counts each pod of a Job exactly once, whenever the controller dies (KEP-2307). Pure.

First a pod's UID goes into ``status.uncountedTerminatedPods``, then its finalizer goes, then the UID becomes a number.
``track`` makes the first of these statuses, ``settle`` the second. Of an indexed Job the index of a success is enough.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.pods import status as podstatus
from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.controllers.job import facts
from sampan.controllers.job.facts import Said
from sampan.controllers.job.indexes import Indexes
from sampan.controllers.job.plan import BURST, Observed, Plan, Told, condition


@dataclass(slots=True)
class Tracking:
    """``status``: with the UIDs of what is to be counted. ``release``: the pods whose finalizer may go once it is
    stored. ``more``: there are others, for the next sync."""

    status: Obj
    release: list[Obj] = field(default_factory=list)
    more: bool = False


def track(observed: Observed, steps: Plan, after: Observed) -> Tracking:
    """The status to store before any finalizer goes. ``after``: what is there once the plan has been carried out."""
    job = observed.job
    status = _standing(observed, steps, after)
    tracking = Tracking(status)
    counts = {kind: list(uids) for kind, uids in observed.uncounted.items()}
    done: list[int] = []
    known = {kind: set(uids) for kind, uids in counts.items()}
    for said in sorted(observed.said, key=lambda said: said.index or 0):
        if not _is_over(observed, steps, said):
            continue
        tracking.release.append(said.pod)
        if (kind := _count(observed, steps, said, known, done)) is not None:
            counts[kind].append(said.uid)
            known[kind].add(said.uid)
        if len(done) + len(counts["succeeded"]) + len(counts["failed"]) >= BURST:
            tracking.more = True
            break
    status["uncountedTerminatedPods"] = {kind: uids for kind, uids in counts.items() if uids}
    if facts.is_indexed(job):
        succeeded = observed.succeeded_before | Indexes.of(done)
        _set(status, completedIndexes=str(succeeded), succeeded=len(succeeded))
        if facts.per_index_limit(job) is not None:
            status["failedIndexes"] = str(observed.failed_indexes)
    if steps.ending is not None:
        status["conditions"] = _put(status.get("conditions"), steps.ending)
    return tracking


def _standing(observed: Observed, steps: Plan, after: Observed) -> Obj:
    """What a status says besides counts of pods that ended."""
    job = observed.job
    status: Obj = {key: value for key, value in part(job, "status").items() if value is not None}
    if steps.resumed or ("startTime" not in status and not facts.is_suspended(job)):
        status["startTime"] = format_time(observed.now)
    if steps.suspended is not None:
        status["conditions"] = _put(status.get("conditions"), steps.suspended)
    _set(status, active=len(after.active))
    status["ready"] = sum(map(podstatus.is_ready, after.active))
    status["terminating"] = after.terminating
    return status


def _is_over(observed: Observed, steps: Plan, said: Said) -> bool:
    """Whether its finalizer may go: it has ended, or the Job has."""
    if not said.is_tracked:
        return False
    if steps.ending is not None or objects.is_deleting(observed.job):
        return True
    return (said.is_succeeded or said.is_failed) and said.uid not in observed.held


def _count(observed: Observed, steps: Plan, said: Said, known: dict[str, set[str]], done: list[int]) -> str | None:
    """Among which its UID is to be counted; a success of an indexed Job is ``done``."""
    index, indexed = observed.index(said), observed.is_indexed
    if indexed and index is None:
        return None
    if said.is_succeeded:
        if indexed:
            if index is not None and index not in observed.succeeded_before:
                done.append(index)
            return None
        return None if said.uid in known["succeeded"] or said.uid in known["failed"] else "succeeded"
    # When a Job has failed, what still ran has failed with it.
    failing = steps.ending is not None and steps.ending["type"] == "FailureTarget"
    counts = (failing or said.is_failed) and said.uid not in known["failed"] and said.judged.counts
    return "failed" if counts else None


def settle(observed: Observed, tracking: Tracking, steps: Plan, tracked: Collection[str], left: int) -> Obj:
    """The status after finalizers have gone. ``tracked``: the UIDs of pods that have one still; ``left``: pods that run
    or are ending."""
    status = dict(tracking.status)
    waiting: dict[str, list[str]] = {}
    for kind, uids in part(status, "uncountedTerminatedPods").items():
        waiting[kind] = [uid for uid in uids if uid in tracked]
        _set(status, **{kind: (whole(status, kind) or 0) + len(uids) - len(waiting[kind])})
    status["uncountedTerminatedPods"] = {kind: uids for kind, uids in waiting.items() if uids}
    if steps.ending is None or tracking.more or left or any(waiting.values()):
        return status
    final = "Failed" if steps.ending["type"] == "FailureTarget" else "Complete"
    last = condition(final, steps.ending["reason"], steps.ending["message"], observed.now)
    status["conditions"] = _put(status.get("conditions"), last)
    if final == "Complete":
        status["completionTime"] = last["lastTransitionTime"]
    return status


def ended(job: Obj, status: Obj) -> list[Told]:
    """The Events of a Job that is over."""
    for each in parts(status, "conditions"):
        if each.get("type") == "Complete":
            told: list[Told] = [("Normal", "Completed", "Job completed")]
            wanted = facts.completions(job)
            if wanted is not None and (whole(status, "succeeded") or 0) > wanted:
                message = "Too many succeeded pods running after completion count reached"
                told.insert(0, ("Warning", "TooManySucceededPods", message))
            return told
        if each.get("type") == "Failed":
            return [("Warning", text(each, "reason"), text(each, "message"))]
    return []


def _put(present: Any, new: Obj) -> list[Obj]:
    listed = [each for each in present or () if isinstance(each, dict)]
    old = next((each for each in listed if each.get("type") == new["type"]), None)
    if old is not None and old.get("status") == new["status"]:
        return listed
    return [each for each in listed if each is not old] + [new]


def _set(status: Obj, **values: int | str) -> None:
    """Nothing is left out rather than written."""
    for key, value in values.items():
        if value:
            status[key] = value
        else:
            status.pop(key, None)
