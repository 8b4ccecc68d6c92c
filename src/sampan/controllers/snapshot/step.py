"""What a look at a snapshot or a content may come to: one write, and what is told. Pure.

After a write the shell looks again, so a crash between any two is a state like every other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.reading import part, text
from sampan.api.resources import Resource
from sampan.api.storage.snapshots import VOLUME_SNAPSHOTS
from sampan.api.types import Obj
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event."""

    about: Obj
    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Write:
    """Of an object as it should be; it carries the resourceVersion that was seen."""

    verb: Literal["create", "update", "status", "delete"]
    resource: Resource
    obj: Obj


@dataclass(frozen=True, slots=True)
class Plan:
    """``tells`` are told when the write, if there is one, has been done."""

    write: Write | None = None
    tells: tuple[Tell, ...] = ()


NOTHING = Plan()


def with_finalizers(resource: Resource, obj: Obj, *, add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> Plan:
    """Nothing, when they are as wanted."""
    present = list(objects.finalizers(obj))
    wanted = [each for each in present if each not in drop] + [each for each in add if each not in present]
    if wanted == present:
        return NOTHING
    new: Obj = objects.copy_of(obj)
    new["metadata"]["finalizers"] = wanted
    return Plan(Write("update", resource, new))


def with_annotation(resource: Resource, obj: Obj, key: str) -> Plan:
    """Nothing, when it has it."""
    if key in objects.annotations(obj):
        return NOTHING
    new: Obj = objects.copy_of(obj)
    annotations: Obj = new["metadata"].setdefault("annotations", {})
    annotations[key] = "yes"
    return Plan(Write("update", resource, new))


def failed(snapshot: Obj, reason: str, message: str, now: datetime) -> Plan:
    """Nothing, when the snapshot says so already."""
    if text(part(part(snapshot, "status"), "error"), "message") == message:
        return NOTHING
    new: Obj = objects.copy_of(snapshot)
    status = {**part(snapshot, "status"), "readyToUse": False}
    status["error"] = {"time": format_time(now), "message": message}
    new["status"] = status
    return Plan(Write("status", VOLUME_SNAPSHOTS, new), (Tell(snapshot, "Warning", reason, message),))
