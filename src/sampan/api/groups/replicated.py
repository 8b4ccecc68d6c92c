"""What ReplicaSet and ReplicationController have in common: counters, their rules, and the row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing, templated
from sampan.api.types import Obj
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


def validate_status(new: Obj, old: Obj) -> Errors:
    status = new.get("status") or {}
    parts = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    found = templated.counters(status, "replicas", *parts, "observedGeneration")
    found += templated.not_more(status, "replicas", *parts)
    return found + templated.not_more(status, "readyReplicas", "availableReplicas", said="readyReplicas")


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
