"""What ReplicaSet and ReplicationController have in common: counters, their rules, and the row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

COLUMNS = (
    printing.NAME,
    printing.number("Desired"),
    printing.number("Current"),
    printing.number("Ready"),
    printing.AGE,
    printing.CONTAINERS,
    printing.IMAGES,
    printing.SELECTOR,
)

_COUNTERS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    found = [fault for key in _COUNTERS for fault in common.non_negative(status.get(key), f"status.{key}")]
    for key in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        if status.get(key, 0) > status.get("replicas", 0):
            found.append(errors.invalid(f"status.{key}", status.get(key, 0), "cannot be greater than status.replicas"))
    if status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        text = "cannot be greater than readyReplicas"
        found.append(errors.invalid("status.availableReplicas", status.get("availableReplicas", 0), text))
    return found


def row(obj: Obj, now: datetime, selector: str) -> Sequence[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return (
        printing.name(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        printing.age(obj, now),
        *printing.containers(printing.template_spec(obj)),
        selector,
    )
