"""What has to be done about one claim for devices, and about one pod that names some. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sampan.api import objects
from sampan.api.pods import resourceclaims
from sampan.api.pods.resourceclaims import FINALIZER, POD_CLAIM_NAME, PodResourceClaim
from sampan.api.pods.status import is_terminal, node_name
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass

_LONGEST_BASE: Final = 57


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """``status``: the status to write, None: it stays; ``unprotect``: take the finalizer off; ``delete``: nobody will
    use it any more."""

    status: Obj | None = None
    unprotect: bool = False
    delete: bool = False


def plan_claim(claim: Obj, using: Sequence[Obj], *, owner_done: bool) -> ClaimStep:
    """``using``: the consumers that still are; ``owner_done``: it was made for a pod that has ended."""
    if owner_done and not objects.is_deleting(claim):
        return ClaimStep(delete=True)
    status, listed = part(claim, "status"), resourceclaims.consumers(claim)
    allocated = resourceclaims.allocation(claim) is not None
    protected = FINALIZER in objects.finalizers(claim)
    # What was allocated for nobody yet stays: a scheduler may be about to reserve it. A claim that goes does not.
    free = allocated and not using and (bool(listed) or objects.is_deleting(claim))
    if free or len(using) != len(listed):
        new = {key: value for key, value in status.items() if key != "reservedFor"}
        if using:
            new["reservedFor"] = list(using)
        if free:
            new.pop("allocation", None)
            new.pop("devices", None)
        return ClaimStep(status=new, unprotect=free and protected)
    # A scheduler protects a claim before it allocates: only one that goes is freed of that.
    return ClaimStep(unprotect=protected and not allocated and objects.is_deleting(claim))


def wants_claims(pod: Obj) -> bool:
    return not is_terminal(pod) and not objects.is_deleting(pod)


def render_claim(pod: Obj, wanted: PodResourceClaim, template: Obj, owner: Obj) -> Obj:
    """``owner``: the reference to the pod."""
    given = part(part(template, "spec"), "metadata")
    annotations = {**part(given, "annotations"), POD_CLAIM_NAME: wanted.name}
    base = f"{objects.name(pod)}-{wanted.name}-"
    meta: Obj = {
        "generateName": base if len(base) <= _LONGEST_BASE else f"{base[: _LONGEST_BASE - 1].rstrip('-.')}-",
        "namespace": objects.namespace(pod),
        "annotations": annotations,
        "ownerReferences": [owner],
    }
    if part(given, "labels"):
        meta["labels"] = dict(part(given, "labels"))
    spec = objects.deep_copy(part(part(template, "spec"), "spec"))
    return {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": meta, "spec": spec}


def made_for(pod: Obj, wanted: PodResourceClaim, claims: Sequence[Obj]) -> Obj | None:
    """The claim that was made of this entry's template before, of those that the pod owns; the oldest, if there are
    more."""
    found = [
        claim
        for claim in claims
        if resourceclaims.is_of_pod(claim, pod)
        and part(part(claim, "metadata"), "annotations").get(POD_CLAIM_NAME) == wanted.name
        and not objects.is_deleting(claim)
    ]
    return min(found, key=objects.name, default=None)


def to_reserve(pod: Obj, claim: Obj) -> bool:
    """Whether a pod that no scheduler reserved for has a node all the same, and may use the claim."""
    if not node_name(pod) or resourceclaims.allocation(claim) is None or resourceclaims.is_reserved_for(claim, pod):
        return False
    return len(resourceclaims.consumers(claim)) < resourceclaims.MOST_CONSUMERS


def is_pod(consumer: Obj) -> bool:
    return text(consumer, "resource") == "pods" and not text(consumer, "apiGroup")
