"""Who owns a pod's claims, by ``persistentVolumeClaimRetentionPolicy`` (KEP-1847). Pure.

A claim that goes with the set is the set's; one that goes when its pod is scaled away becomes the pod's as that
happens. The garbage collector does the rest.
"""

from __future__ import annotations

from typing import Final

from sampan.api import objects
from sampan.api.reading import part, parts, text
from sampan.api.resources import PODS, STATEFUL_SETS
from sampan.api.types import Obj
from sampan.controllers.statefulset import facts
from sampan.controllers.workload.claims import controller_reference

_DELETE: Final = "Delete"


def _policy(stateful_set: Obj) -> tuple[bool, bool]:
    """Whether claims go when (the pod is scaled away, the set is deleted)."""
    policy = part(part(stateful_set, "spec"), "persistentVolumeClaimRetentionPolicy")
    return text(policy, "whenScaled") == _DELETE, text(policy, "whenDeleted") == _DELETE


def retains(stateful_set: Obj) -> bool:
    """Claims stay, whatever becomes of pods and set."""
    return _policy(stateful_set) == (False, False)


def owners(stateful_set: Obj, number: int, pod: Obj | None) -> list[Obj]:
    """The references that the claims of an ordinal should have to the set and its pod (None: it is not there)."""
    with_scale, with_set = _policy(stateful_set)
    scaled_away = not facts.is_wanted(stateful_set, number)
    found: list[Obj] = []
    if with_set and not (with_scale and scaled_away):
        found.append(dict(controller_reference(stateful_set, STATEFUL_SETS)))
    if with_scale and scaled_away and pod is not None:
        found.append(dict(controller_reference(pod, PODS)))
    return found


def is_stale(claim: Obj, name: str) -> bool:
    """It goes with an earlier pod of this name: whoever is to be made now must not find it."""
    return any(ref.get("kind") == "Pod" and ref.get("name") == name for ref in objects.owner_references(claim))


def is_of_another_controller(stateful_set: Obj, pod: Obj, claim: Obj) -> bool:
    """Somebody else manages it: the policy has no say."""
    own = {stateful_set["metadata"]["uid"], pod["metadata"].get("uid", "")}
    return any(ref.get("controller") and ref.get("uid") not in own for ref in objects.owner_references(claim))


def corrected(stateful_set: Obj, pod: Obj, claim: Obj) -> Obj | None:
    """The claim with the owners that it should have; None: it has them."""
    if is_of_another_controller(stateful_set, pod, claim):
        return None
    wanted = owners(stateful_set, facts.ordinal(pod), pod)
    own = {stateful_set["metadata"]["uid"], pod["metadata"].get("uid", "")}
    present = list(parts(part(claim, "metadata"), "ownerReferences"))
    if {ref.get("uid") for ref in present} & own == {ref["uid"] for ref in wanted}:
        return None
    others = [ref for ref in present if ref.get("uid") not in own]
    result: Obj = objects.deep_copy(claim)
    result["metadata"]["ownerReferences"] = others + wanted
    return result
