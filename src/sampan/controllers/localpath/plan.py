"""What the provisioner makes of a claim, and what becomes of its volumes. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api import objects
from sampan.api.errors import quoted
from sampan.api.reading import part, parts, text, text_map, texts
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj

#: where volumes of nodes without a disk (simulated ones) are said to be
_NOWHERE: Final = "/var/lib/sampan/local-path"
#: keeps a volume until its data is gone, whoever deletes it (KEP-2644)
FINALIZER: Final = "external-provisioner.volume.kubernetes.io/finalizer"
_HOST_NAME: Final = "kubernetes.io/hostname"


class Refused(Exception):
    """The claim asks for what this provisioner does not have; the message says what."""


def is_wanted(claim: Obj, storage_class: Obj | None) -> bool:
    """Whether it waits for this provisioner: the binder has said so, and a class that waits for the first pod has its
    node."""
    if claims.volume_name(claim) or objects.is_deleting(claim) or storage_class is None:
        return False
    if claims.annotation(claim, claims.PROVISIONER) != volumes.LOCAL_PATH:
        return False
    if text(storage_class, "provisioner") != volumes.LOCAL_PATH:
        return False
    return not claims.is_delayed(storage_class) or bool(claims.annotation(claim, claims.SELECTED_NODE))


def asks_in_vain(claim: Obj) -> str:
    """Why a claim that has its volume does not get the class of attributes that it names now; "": it names none, or the
    volume is another's."""
    name = text(part(claim, "spec"), "volumeAttributesClassName")
    ours = claims.annotation(claim, claims.PROVISIONER) == volumes.LOCAL_PATH
    if not name or not ours or claims.phase(claim) != "Bound" or objects.is_deleting(claim):
        return ""
    return _no_attributes(name)


def _no_attributes(name: str) -> str:
    return f"volumes of {volumes.LOCAL_PATH} have no attributes: VolumeAttributesClass {quoted(name)} changes nothing"


def awaits_populator(claim: Obj) -> bool:
    """Its data comes from a kind that is neither a claim nor a snapshot: somebody else makes the volume."""
    spec = part(claim, "spec")
    source = part(spec, "dataSourceRef") or part(spec, "dataSource")
    return bool(source) and text(source, "kind") not in ("PersistentVolumeClaim", "VolumeSnapshot")


def volume_name(claim: Obj) -> str:
    return f"pvc-{objects.uid(claim)}"


def render_volume(claim: Obj, storage_class: Obj, node: Obj) -> Obj:
    """Raises Refused."""
    spec = part(claim, "spec")
    if isinstance(spec.get("selector"), dict):
        raise Refused("claim.Spec.Selector is not supported for dynamic provisioning")
    mode, backing = claims.volume_mode(claim), _backing(storage_class)
    if isinstance(spec.get("dataSourceRef") or spec.get("dataSource"), dict):
        raise Refused("volumes with a data source are not supported")
    if any(True for _ in texts(storage_class, "mountOptions")):
        raise Refused("mount options are not supported")
    if attributes := text(spec, "volumeAttributesClassName"):
        raise Refused(_no_attributes(attributes))
    name, is_file = volume_name(claim), mode == "Block" or backing == volumes.BACKING_FILE
    made_of = {volumes.LOCAL_BACKING: volumes.BACKING_FILE} if is_file else {}
    term = {"matchExpressions": [{"key": _HOST_NAME, "operator": "In", "values": [host_name(node)]}]}
    return {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "annotations": {volumes.PROVISIONED_BY: volumes.LOCAL_PATH, **made_of},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "capacity": {"storage": claims.requested(claim)},
            "accessModes": list(texts(spec, "accessModes")),
            "persistentVolumeReclaimPolicy": text(storage_class, "reclaimPolicy") or "Delete",
            "storageClassName": objects.name(storage_class),
            "volumeMode": mode,
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": objects.namespace(claim),
                "name": objects.name(claim),
                "uid": objects.uid(claim),
                "resourceVersion": objects.resource_version(claim),
            },
            "local": {"path": f"{root_of(node) or _NOWHERE}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


def _backing(storage_class: Obj) -> str:
    """What volumes of the class are made of. Raises Refused."""
    for key, value in text_map(storage_class, "parameters").items():
        if key != volumes.BACKING:
            raise Refused(f'unknown parameter "{key}"')
        if value not in ("directory", volumes.BACKING_FILE):
            raise Refused(f'parameter "{key}" is "directory" or "{volumes.BACKING_FILE}", not "{value}"')
        return value
    return "directory"


def host_name(node: Obj) -> str:
    return text_map(part(node, "metadata"), "labels").get(_HOST_NAME, objects.name(node))


def root_of(node: Obj) -> str:
    """ "": its agent has no disk."""
    return (claims.annotation(node, volumes.LOCAL_ROOT) or "").rstrip("/")


def host_of(volume: Obj) -> str:
    """The host name that a volume of this provisioner is bound to; "": it was changed by somebody."""
    required = part(part(part(volume, "spec"), "nodeAffinity"), "required")
    for term in parts(required, "nodeSelectorTerms"):
        for requirement in parts(term, "matchExpressions"):
            if text(requirement, "key") == _HOST_NAME:
                return next(iter(texts(requirement, "values")), "")
    return ""


def is_ours(volume: Obj) -> bool:
    return claims.annotation(volume, volumes.PROVISIONED_BY) == volumes.LOCAL_PATH


def loses_data(volume: Obj) -> bool:
    """Its policy is that its data goes too, and its claim is gone; or it is deleted when no claim has it."""
    if not is_ours(volume) or text(part(volume, "spec"), "persistentVolumeReclaimPolicy") != "Delete":
        return False
    free = volumes.claim_ref(volume) is None and volumes.phase(volume) == "Available"
    return volumes.phase(volume) in ("Released", "Failed") or (free and objects.is_deleting(volume))


def is_let_go(volume: Obj) -> bool:
    """It is deleted while its policy is to keep the data: the object may go, the directory stays."""
    return (
        is_ours(volume)
        and objects.is_deleting(volume)
        and volumes.phase(volume) != "Bound"
        and FINALIZER in objects.finalizers(volume)
        and text(part(volume, "spec"), "persistentVolumeReclaimPolicy") != "Delete"
    )


def without_finalizer(volume: Obj) -> Obj | None:
    """None: it has none."""
    present = list(objects.finalizers(volume))
    if FINALIZER not in present:
        return None
    new: Obj = objects.copy_of(volume)
    new["metadata"]["finalizers"] = [each for each in present if each != FINALIZER]
    return new
