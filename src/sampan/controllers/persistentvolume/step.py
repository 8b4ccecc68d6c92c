"""What a look at a claim or a volume may come to: one write, and what is told. Pure.

A plan has at most one write. After it the shell looks again, so a crash between any two is a state like every other.
"""

from __future__ import annotations

from typing import Literal

from sampan.api import objects
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource
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
    """``tells`` are told when the write, if there is one, has been done. ``claim``: (namespace, name) of a claim to be
    looked at next."""

    write: Write | None = None
    tells: tuple[Tell, ...] = ()
    claim: tuple[str, str] | None = None
    #: when to look again though nothing has changed
    after_seconds: float | None = None


NOTHING = Plan()


def warn(about: Obj, reason: str, message: str) -> Tell:
    return Tell(about, "Warning", reason, message)


def note(about: Obj, reason: str, message: str) -> Tell:
    return Tell(about, "Normal", reason, message)


def update_volume(volume: Obj, *tells: Tell) -> Plan:
    return Plan(Write("update", PERSISTENT_VOLUMES, volume), tells)


def update_claim(claim: Obj, *tells: Tell) -> Plan:
    return Plan(Write("update", PERSISTENT_VOLUME_CLAIMS, claim), tells)


def delete_pod(pod: Obj, *tells: Tell) -> Plan:
    return Plan(Write("delete", PODS, pod), tells)


def volume_phase(volume: Obj, phase: str, message: str = "", tell: Tell | None = None) -> Plan:
    """Nothing, when it is in the phase already."""
    status = volume.get("status") or {}
    if status.get("phase") == phase:
        return NOTHING
    new: Obj = objects.copy_of(volume)
    new["status"] = {key: value for key, value in (new.get("status") or {}).items() if key not in ("message", "reason")}
    new["status"]["phase"] = phase
    if message:
        new["status"]["message"] = message
    return Plan(Write("status", PERSISTENT_VOLUMES, new), () if tell is None else (tell,))


def claim_phase(claim: Obj, phase: str, tell: Tell | None = None) -> Plan:
    """Pending and Lost; what a bound claim has is ``bound_status``'s to say."""
    status = claim.get("status") or {}
    wanted = {**status, "phase": phase}
    if phase == "Pending":
        wanted = {key: value for key, value in wanted.items() if key not in ("accessModes", "capacity")}
    if wanted == status:
        return NOTHING
    new: Obj = objects.copy_of(claim)
    new["status"] = wanted
    told = () if tell is None or status.get("phase") == phase else (tell,)
    return Plan(Write("status", PERSISTENT_VOLUME_CLAIMS, new), told)


def bound_status(claim: Obj, volume: Obj) -> Plan:
    """A claim has the access modes of its volume, and from the moment on that it is bound, its size and its class of
    attributes: what becomes of these later is said by whoever changes them."""
    status, spec = claim.get("status") or {}, volume.get("spec") or {}
    wanted = {**status, "phase": "Bound", "accessModes": spec.get("accessModes") or []}
    if status.get("phase") != "Bound":
        storage = (spec.get("capacity") or {}).get("storage")
        wanted["capacity"] = {**(status.get("capacity") or {}), **({} if storage is None else {"storage": storage})}
        if attributes := spec.get("volumeAttributesClassName"):
            wanted["currentVolumeAttributesClassName"] = attributes
    if wanted == status:
        return NOTHING
    new: Obj = objects.copy_of(claim)
    new["status"] = wanted
    return Plan(Write("status", PERSISTENT_VOLUME_CLAIMS, new))
