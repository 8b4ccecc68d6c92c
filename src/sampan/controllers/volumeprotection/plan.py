"""Whether a claim or a volume is in use, and what becomes of its finalizer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api import objects
from sampan.api.pods.status import node_name
from sampan.api.reading import part
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj


def plan_finalizer(obj: Obj, finalizer: str, *, in_use: bool) -> Obj | None:
    """The object with the finalizer that it needs, or without one that it needs no longer; None: it is right."""
    present = list(objects.finalizers(obj))
    if objects.is_deleting(obj):
        if finalizer not in present or in_use:
            return None
        present.remove(finalizer)
    elif finalizer in present:
        return None
    else:
        present.append(finalizer)
    new: Obj = objects.copy_of(obj)
    new["metadata"]["finalizers"] = present
    return new


def is_volume_in_use(volume: Obj) -> bool:
    return volumes.phase(volume) == "Bound"


def is_claim_in_use(claim: Obj, pods: Iterable[Obj]) -> bool:
    """By a pod that has a node: others will not be started once the claim is being deleted. One that has ended counts
    as well, as upstream has it: its volumes are there until it is deleted."""
    return any(node_name(pod) and _uses(pod, claim) for pod in pods)


def _uses(pod: Obj, claim: Obj) -> bool:
    name = objects.name(claim)
    for each in claims.claims_of_pod(pod):
        if each.name == name and (
            not each.ephemeral or (not _is_shut_down(pod) and claims.is_claim_of_pod(claim, pod))
        ):
            return True
    return False


def _is_shut_down(pod: Obj) -> bool:
    """The node has nothing of it any more, and asked that it be taken away."""
    return objects.is_deleting(pod) and part(pod, "metadata").get("deletionGracePeriodSeconds") == 0
