"""What a write to a Job's status may say. Jobs may be other controllers' (``managedBy``), whose word is checked here.

A rule that looks at the whole counts only when what it looks at has changed: an older status that breaks it does not
keep others from writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sampan.api import errors
from sampan.api.clock import parse_time
from sampan.api.groups import printing
from sampan.api.groups.batch import job_indexes
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_CONDITIONS: Final = "status.conditions"
_TERMINAL: Final = ("Failed", "Complete", "FailureTarget")


@dataclass(frozen=True, slots=True)
class _Change:
    """A Job before and after, and what of its status differs."""

    new: Obj
    old: Obj

    @property
    def status(self) -> Obj:
        return self.new.get("status") or {}

    @property
    def before(self) -> Obj:
        return self.old.get("status") or {}

    @property
    def spec(self) -> Obj:
        return self.new.get("spec") or {}

    def now(self, condition: str) -> bool:
        return printing.has_condition(self.new, condition)

    def was(self, condition: str) -> bool:
        return printing.has_condition(self.old, condition)

    @property
    def finished(self) -> bool:
        return self.now("Complete") or self.now("Failed")

    def turned(self, *conditions: str) -> bool:
        """One of these is true now and was not, or the other way round."""
        return any(self.now(condition) != self.was(condition) for condition in conditions)

    @property
    def finish_turned(self) -> bool:
        return self.finished != (self.was("Complete") or self.was("Failed"))

    def moved(self, key: str) -> bool:
        return bool(self.status.get(key) != self.before.get(key))


def validate(new: Obj, old: Obj) -> Errors:
    change = _Change(new, old)
    found = _counters(change.status)
    for rule in (_ends, _times, _finished, _indexes, _pods, _success):
        found += rule(change)
    return found + _transitions(change)


def _counters(status: Obj) -> Errors:
    found: Errors = []
    for key in ("active", "succeeded", "failed", "ready", "terminating"):
        found += common.non_negative(status.get(key), f"status.{key}")
    seen: set[str] = set()
    for key in ("succeeded", "failed"):
        for index, uid in enumerate((status.get("uncountedTerminatedPods") or {}).get(key) or ()):
            path = f"status.uncountedTerminatedPods.{key}[{index}]"
            if not uid:
                found.append(errors.invalid(path, uid, "must not be empty"))
            elif uid in seen:
                found.append(errors.duplicate(path, uid))
            seen.add(uid)
    return found


def _condition(text: str) -> Errors:
    return [errors.invalid_without_value(_CONDITIONS, text)]


def _ends(change: _Change) -> Errors:
    found: Errors = []
    if not change.now("Complete"):
        return found
    if change.turned("Complete", "Failed") and change.now("Failed"):
        found += _condition("cannot set Complete=True and Failed=true conditions")
    if change.turned("Complete", "FailureTarget") and change.now("FailureTarget"):
        found += _condition("cannot set Complete=True and FailureTarget=true conditions")
    return found


def _times(change: _Change) -> Errors:
    status = change.status
    start, end = status.get("startTime"), status.get("completionTime")
    found: Errors = []
    if change.turned("Complete") or change.moved("completionTime"):
        if end is not None and not change.now("Complete"):
            text = "cannot set completionTime when there is no Complete=True condition"
            found.append(errors.invalid("status.completionTime", end, text))
        if end is None and change.now("Complete"):
            found.append(errors.required("status.completionTime", "completionTime is required for Complete jobs"))
    moved = change.moved("startTime") or change.moved("completionTime")
    if moved and start is not None and end is not None and parse_time(end) < parse_time(start):
        found.append(errors.invalid("status.completionTime", end, "must be equal to or after `startTime`"))
    return found


def _finished(change: _Change) -> Errors:
    status = change.status
    found: Errors = []
    aimed, met = change.now("FailureTarget"), change.now("SuccessCriteriaMet")
    if (change.turned("Failed") or change.moved("failedIndexes")) and change.now("Failed") and not aimed:
        found += _condition("cannot set Failed=True condition without the FailureTarget=true condition")
    if change.turned("Complete", "SuccessCriteriaMet") and change.now("Complete") and not met:
        found += _condition("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if not change.finished:
        return found
    if (change.finish_turned or change.moved("active")) and (active := status.get("active") or 0) > 0:
        found.append(errors.invalid("status.active", active, "active>0 is invalid for finished job"))
    if (change.finish_turned or change.moved("startTime")) and status.get("startTime") is None:
        found.append(errors.required("status.startTime", "startTime is required for finished job"))
    pods = status.get("uncountedTerminatedPods") or {}
    if (change.finish_turned or change.moved("uncountedTerminatedPods")) and any(pods.values()):
        shown = {"Succeeded": pods.get("succeeded"), "Failed": pods.get("failed")}
        found.append(errors.invalid("status.uncountedTerminatedPods", shown, "must be empty for finished job"))
    return found


def _indexes(change: _Change) -> Errors:
    completed, failed = change.status.get("completedIndexes", ""), change.status.get("failedIndexes")
    completions = change.spec.get("completions")
    per_index = change.spec.get("backoffLimitPerIndex") is not None
    completed_moved = completed != change.before.get("completedIndexes", "")
    failed_moved = change.moved("failedIndexes")
    found: Errors = []
    if completed_moved and completions is not None:
        found += _format("completedIndexes", completed, completions)
    if failed_moved and completions is not None and per_index and failed is not None:
        found += _format("failedIndexes", failed, completions)
    if completed_moved and completed and change.spec.get("completionMode") != "Indexed":
        text = "cannot set non-empty completedIndexes when non-indexed completion mode"
        found.append(errors.invalid("status.completedIndexes", completed, text))
    if failed_moved and failed is not None and not per_index:
        text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        found.append(errors.invalid("status.failedIndexes", failed, text))
    if (completed_moved or failed_moved) and completions is not None and failed is not None:
        shared = job_indexes.overlap(completed, failed, completions)
        if shared is not None:
            text = f"failedIndexes and completedIndexes overlap at index: {shared}"
            found.append(errors.invalid("status.failedIndexes", failed, text))
    return found


def _format(key: str, text: str, completions: int) -> Errors:
    try:
        job_indexes.count(text, completions)
    except job_indexes.BadIndexes as error:
        return [errors.invalid(f"status.{key}", text, f"error parsing {key}: {error}")]
    return []


def _pods(change: _Change) -> Errors:
    status = change.status
    terminating, ready = status.get("terminating") or 0, status.get("ready")
    found: Errors = []
    if (change.finish_turned or change.moved("terminating")) and change.finished and terminating > 0:
        text = "terminating>0 is invalid for finished job"
        found.append(errors.invalid("status.terminating", terminating, text))
    if (change.moved("ready") or change.moved("active")) and ready is not None and ready > (status.get("active") or 0):
        found.append(errors.invalid("status.ready", ready, "cannot set more ready pods than active"))
    return found


def _success(change: _Change) -> Errors:
    found: Errors = []
    if change.now("SuccessCriteriaMet"):
        if change.now("Failed"):
            found += _condition("cannot set SuccessCriteriaMet=True and Failed=true conditions")
        if change.now("FailureTarget"):
            found += _condition("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    elif change.now("Complete") and change.spec.get("successPolicy") is not None:
        found += _condition("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")
    return found


# -- from the old status to the new --------------------------------------------------------------------------------


def _transitions(change: _Change) -> Errors:
    found: Errors = []
    for condition in _TERMINAL:
        if change.was(condition) and not change.now(condition):
            found += _condition(f"cannot disable the terminal {condition}=True condition")
    found += _decreased(change, "failed")
    spec = change.spec
    resized = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if not resized:
        found += _decreased(change, "succeeded")
    end = change.status.get("completionTime")
    if end is not None and change.before.get("completionTime") not in (None, end):
        found.append(errors.invalid("status.completionTime", end, common.IMMUTABLE))
    if change.moved("startTime") and change.before.get("startTime") is not None and not spec.get("suspend"):
        found.append(errors.required("status.startTime", "startTime cannot be removed for unsuspended job"))
    if change.was("SuccessCriteriaMet") and not change.now("SuccessCriteriaMet"):
        found += _condition("cannot disable the SuccessCriteriaMet=True condition")
    if change.was("Complete") and not change.was("SuccessCriteriaMet") and change.now("SuccessCriteriaMet"):
        found += _condition("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")
    return found


def _decreased(change: _Change, key: str) -> Errors:
    now: int = change.status.get(key) or 0
    if now >= (change.before.get(key) or 0):
        return []
    return [errors.invalid(f"status.{key}", now, f"cannot decrease the {key} counter")]
