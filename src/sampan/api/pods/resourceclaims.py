"""The claims for devices that a pod names (``spec.resourceClaims``, KEP-4381). Pure; never raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sampan.api import objects
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.records import dataclass

#: on a claim that was made of a template: which of the pod's entries it is for
POD_CLAIM_NAME: Final = "resource.kubernetes.io/pod-claim-name"
#: keeps a claim that is allocated, or whose devices are prepared
FINALIZER: Final = "resource.kubernetes.io/delete-protection"
MOST_CONSUMERS: Final = 256


@dataclass(frozen=True, slots=True)
class PodResourceClaim:
    """``name`` is the pod's own for it, ``claim`` the object's: "" while there is none. ``needed`` False: a template
    that stands for nothing."""

    name: str
    claim: str
    template: str
    needed: bool = True


def claims_of_pod(pod: Obj) -> Iterator[PodResourceClaim]:
    made = {text(each, "name"): each for each in parts(part(pod, "status"), "resourceClaimStatuses")}
    for each in parts(part(pod, "spec"), "resourceClaims"):
        name, template = text(each, "name"), text(each, "resourceClaimTemplateName")
        if not template:
            yield PodResourceClaim(name, text(each, "resourceClaimName"), "")
        elif name in made:
            claim = text(made[name], "resourceClaimName")
            yield PodResourceClaim(name, claim, template, needed=bool(claim))
        else:
            yield PodResourceClaim(name, "", template)


def keys_of_pod(pod: Obj) -> list[str]:
    """``namespace/name`` of each claim that there is for the pod, once."""
    namespace = objects.namespace(pod)
    return list(dict.fromkeys(f"{namespace}/{each.claim}" for each in claims_of_pod(pod) if each.claim))


def allocation(claim: Obj) -> Obj | None:
    found = part(claim, "status").get("allocation")
    return found if isinstance(found, dict) else None


def consumers(claim: Obj) -> list[Obj]:
    return list(parts(part(claim, "status"), "reservedFor"))


def is_reserved_for(claim: Obj, pod: Obj) -> bool:
    return any(text(each, "uid") == objects.uid(pod) for each in consumers(claim))


def is_of_pod(claim: Obj, pod: Obj) -> bool:
    """Whether a claim that was made of a template was made for this very pod."""
    owner = objects.controller_of(claim)
    return owner is not None and owner.get("uid") == objects.uid(pod)


def consumer(pod: Obj) -> Obj:
    return {"resource": "pods", "name": objects.name(pod), "uid": objects.uid(pod)}


def device_ids(claim: Obj) -> Iterator[tuple[str, str, str]]:
    """Driver, pool and device of each that the claim has to itself."""
    for result in parts(part(allocation(claim) or {}, "devices"), "results"):
        if result.get("adminAccess") is not True:
            yield text(result, "driver"), text(result, "pool"), text(result, "device")
