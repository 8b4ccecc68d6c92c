"""What becomes of a claim that asks for another VolumeAttributesClass: the next step, and what its status says. Pure.

(external-resizer ``pkg/modifycontroller``; KEP-3751.) The claim's spec names the class that is wanted, its status the
one that the volume has and, while there is a difference, the one that is being tried. A question to the driver whose
outcome is not known is repeated for the same class until it is, whatever the spec says meanwhile.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from sampan.api import objects
from sampan.api.reading import part, parts, text, text_map
from sampan.api.storage import claims
from sampan.api.storage.secretrefs import PREFIX
from sampan.api.types import Obj

PENDING, IN_PROGRESS, INFEASIBLE = "Pending", "InProgress", "Infeasible"
_MODIFYING: Final = "ModifyingVolume"
_FAILED: Final = "ModifyVolumeError"


class Step(NamedTuple):
    """``start``: the class ``target`` is tried, and the claim says so first. ``repeat``: ask again for ``target``.
    ``cancel``: nobody wants a change any more, and none goes on. ``nothing``: it is as it should be."""

    kind: Literal["nothing", "cancel", "start", "repeat"]
    target: str = ""


NOTHING: Final = Step("nothing")


def wanted(claim: Obj) -> str:
    return text(part(claim, "spec"), "volumeAttributesClassName")


def current(claim: Obj) -> str:
    return text(part(claim, "status"), "currentVolumeAttributesClassName")


def state(claim: Obj) -> str:
    """ "": no modification was begun, or the last one ended well."""
    return text(part(part(claim, "status"), "modifyVolumeStatus"), "status")


def target(claim: Obj) -> str:
    return text(part(part(claim, "status"), "modifyVolumeStatus"), "targetVolumeAttributesClassName")


def plan(claim: Obj, *, unsure: bool) -> Step:
    """``unsure``: it is not known what became of the last question for a claim whose modification is in progress."""
    if claims.phase(claim) != "Bound" or objects.is_deleting(claim):
        return NOTHING
    goes_on = state(claim) == IN_PROGRESS
    if not state(claim) and wanted(claim) == current(claim):
        return NOTHING
    if not wanted(claim) and not goes_on:
        return Step("cancel") if any(text(each, "type") == _MODIFYING for each in _conditions(claim)) else NOTHING
    if goes_on and (unsure or not wanted(claim)):
        return Step("repeat", target(claim))
    return Step("start", wanted(claim))


def parameters(storage_class: Obj, claim: Obj, volume: Obj, *, extra: bool) -> dict[str, str]:
    """What the driver is told. ``extra``: with the names of claim and volume."""
    found = text_map(storage_class, "parameters")
    if not extra:
        return dict(found)
    names = {
        "pvc/name": objects.name(claim),
        "pvc/namespace": objects.namespace(claim),
        "pv/name": objects.name(volume),
    }
    return {**found, **{f"{PREFIX}{key}": name for key, name in names.items()}}


# -- what the claim says: merge patches of its status


def pending(claim: Obj) -> Obj:
    """The class is not there. Conditions stay as they are."""
    return _patch(claim, {"modifyVolumeStatus": {"status": PENDING, "targetVolumeAttributesClassName": wanted(claim)}})


def begun(claim: Obj, name: str, now: str) -> Obj:
    modifying = {"status": IN_PROGRESS, "targetVolumeAttributesClassName": name}
    condition = _condition(claim, _MODIFYING, "ModifyVolume operation in progress.", now)
    return _patch(claim, {"modifyVolumeStatus": modifying, "conditions": [*_others(claim), condition]})


def failed(claim: Obj, name: str, why: str, now: str, *, infeasible: bool) -> Obj:
    modifying = {"status": INFEASIBLE if infeasible else IN_PROGRESS, "targetVolumeAttributesClassName": name}
    words = f"ModifyVolume failed with error: {why}. Waiting for retry."
    condition = _condition(claim, _FAILED, words, now)
    return _patch(claim, {"modifyVolumeStatus": modifying, "conditions": [*_others(claim), condition]})


def done(claim: Obj, name: str) -> Obj:
    status = {"modifyVolumeStatus": None, "currentVolumeAttributesClassName": name}
    return _patch(claim, {**status, "conditions": _others(claim) or None})


def cancelled(claim: Obj) -> Obj:
    return _patch(claim, {"conditions": _others(claim) or None})


def changes(claim: Obj, patch: Obj) -> bool:
    """Whether a patch says something new; when a condition began is none."""
    status = part(claim, "status")
    return any(_plain(status.get(key)) != _plain(value) for key, value in patch["status"].items())


def _patch(claim: Obj, status: Obj) -> Obj:
    return {"metadata": {"resourceVersion": objects.resource_version(claim)}, "status": status}


def _conditions(claim: Obj) -> list[Obj]:
    return list(parts(part(claim, "status"), "conditions"))


def _others(claim: Obj) -> list[Obj]:
    return [each for each in _conditions(claim) if text(each, "type") not in (_MODIFYING, _FAILED)]


def _condition(claim: Obj, kind: str, message: str, now: str) -> Obj:
    since = next((each.get("lastTransitionTime") for each in _conditions(claim) if text(each, "type") == kind), now)
    return {"type": kind, "status": "True", "message": message, "lastTransitionTime": since or now}


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if key != "lastTransitionTime" and each is not None}
    return value
