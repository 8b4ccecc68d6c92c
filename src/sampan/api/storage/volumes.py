"""What a PersistentVolume says. Pure; never raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api import labels, objects
from sampan.api.labels import SelectorError
from sampan.api.nodes import affinity
from sampan.api.reading import part, text, text_map
from sampan.api.storage import claims
from sampan.api.types import Obj

PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
PROTECTION: Final = "kubernetes.io/pv-protection"
#: the provisioner of Sampan's own storage class: a directory of one node
LOCAL_PATH: Final = "sampan.io/local-path"
#: on a Node: below which directory its agent keeps volumes of that provisioner. A node without it has no disk.
LOCAL_ROOT: Final = "storage.sampan.io/local-path"
#: on its classes, as a parameter, and on its volumes: what they are made of; a directory, unless it is "file"
BACKING: Final = "backing"
LOCAL_BACKING: Final = "storage.sampan.io/backing"
BACKING_FILE: Final = "file"
#: everything in a spec that is not its source
NOT_A_SOURCE: Final = frozenset(
    {"accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
     "storageClassName", "volumeAttributesClassName", "volumeMode"}
)  # fmt: skip


def class_of(volume: Obj) -> str:
    beta = claims.annotation(volume, claims.BETA_CLASS)
    return text(part(volume, "spec"), "storageClassName") if beta is None else beta


def phase(volume: Obj) -> str:
    return text(part(volume, "status"), "phase")


def capacity(volume: Obj) -> str:
    found = part(part(volume, "spec"), "capacity").get("storage")
    return found if isinstance(found, str) else "0"


def capacity_bytes(volume: Obj) -> int:
    return claims.bytes_of(capacity(volume))


def claim_ref(volume: Obj) -> Obj | None:
    found = part(volume, "spec").get("claimRef")
    return found if isinstance(found, dict) else None


def claim_key(volume: Obj) -> str:
    """``namespace/name`` of the claim that it is bound to, or kept for; "": it is free."""
    reference = claim_ref(volume)
    return "" if reference is None else f"{text(reference, 'namespace')}/{text(reference, 'name')}"


def is_for(volume: Obj, claim: Obj) -> bool:
    """It is bound to the claim, or kept for one of its name."""
    reference = claim_ref(volume)
    if reference is None:
        return False
    if (text(reference, "namespace"), text(reference, "name")) != (objects.namespace(claim), objects.name(claim)):
        return False
    return text(reference, "uid") in ("", objects.uid(claim))


def given_to(volume: Obj, claim: Obj) -> Obj | None:
    """The volume with a reference to the claim, marked as our doing unless it was kept for it; None: it has it."""
    kept = is_for(volume, claim)
    if kept and text(claim_ref(volume) or {}, "uid") == objects.uid(claim):
        return None
    new: Obj = objects.copy_of(volume)
    new["spec"]["claimRef"] = {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": objects.namespace(claim),
        "name": objects.name(claim),
        "uid": objects.uid(claim),
        "resourceVersion": objects.resource_version(claim),
    }
    if not kept:
        new["metadata"].setdefault("annotations", {})[claims.BOUND_BY_CONTROLLER] = "yes"
    return new


def source_of(spec: Obj) -> str:
    """The field of a spec that names the type of its source; "unknown": there is none."""
    return min(set(spec) - NOT_A_SOURCE, default="unknown")


def is_reachable(volume: Obj, node_labels: Mapping[str, str], node_name: str) -> bool:
    """Whether its node affinity allows the node."""
    required = part(part(volume, "spec"), "nodeAffinity").get("required")
    if not isinstance(required, dict):
        return True
    return any(term.matches(node_labels, node_name) for term in affinity.parse_terms(required))


def only_label(volume: Obj) -> tuple[str, str] | None:
    """(key, value) when its affinity asks for one value of one label and for nothing else."""
    required = part(part(volume, "spec"), "nodeAffinity").get("required")
    terms = affinity.parse_terms(required) if isinstance(required, dict) else ()
    if len(terms) != 1 or len(terms[0].requirements) != 1 or terms[0].fields:
        return None
    only = terms[0].requirements[0]
    return (only.key, next(iter(only.values))) if only.operator == labels.IN and len(only.values) == 1 else None


def selected(volume: Obj, claim: Obj) -> bool:
    """Whether the claim's selector takes the volume; a selector that does not parse takes none."""
    selector = part(claim, "spec").get("selector")
    if not isinstance(selector, dict):
        return True
    try:
        return labels.from_label_selector(selector).matches(text_map(part(volume, "metadata"), "labels"))
    except SelectorError:
        return False
