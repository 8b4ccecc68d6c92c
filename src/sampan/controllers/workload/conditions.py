"""Lists of conditions as values: every function returns a new list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.types import Condition


def find(conditions: Iterable[Condition] | None, kind: str) -> Condition | None:
    return next((entry for entry in conditions or () if entry.get("type") == kind), None)


def make(kind: str, status: str, reason: str, message: str, now: datetime, *, updated: bool = False) -> Condition:
    """``updated`` adds lastUpdateTime, which Deployments have."""
    moment = format_time(now)
    condition: Condition = {"type": kind, "status": status}
    if updated:
        condition["lastUpdateTime"] = moment
    condition["lastTransitionTime"] = moment
    condition["reason"] = reason
    condition["message"] = message
    return condition


def put(conditions: Sequence[Condition] | None, new: Condition) -> list[Condition]:
    """Nothing changes while status and reason stay; the transition time stays while the status does."""
    present = list(conditions or ())
    old = find(present, new["type"])
    if old is not None and old["status"] == new["status"] and old.get("reason") == new.get("reason"):
        return present
    if old is not None and old["status"] == new["status"] and old.get("lastTransitionTime"):
        new = new.copy()
        new["lastTransitionTime"] = old["lastTransitionTime"]
    return [*drop(present, new["type"]), new]


def drop(conditions: Iterable[Condition] | None, kind: str) -> list[Condition]:
    return [entry for entry in conditions or () if entry.get("type") != kind]
