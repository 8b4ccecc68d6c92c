"""What a PersistentVolumeClaim says (upstream ``component-helpers/storage/volume``). Pure; never raises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sampan.api import objects, quantity
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER: Final = "volume.beta.kubernetes.io/storage-provisioner"
#: what was an annotation before it was a field, of claims and of volumes
BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
PROTECTION: Final = "kubernetes.io/pvc-protection"

_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_BETA: Final = "storageclass.beta.kubernetes.io/is-default-class"


def annotation(obj: Obj, key: str) -> str | None:
    found = part(part(obj, "metadata"), "annotations").get(key)
    return found if isinstance(found, str) else None


def has_annotation(obj: Obj, key: str) -> bool:
    return key in part(part(obj, "metadata"), "annotations")


def class_of(claim: Obj) -> str:
    """ "": no class, whether it asked for none or said nothing."""
    beta = annotation(claim, BETA_CLASS)
    return text(part(claim, "spec"), "storageClassName") if beta is None else beta


def says_no_class(claim: Obj) -> bool:
    """It left the choice of a class to the cluster."""
    return part(claim, "spec").get("storageClassName") is None and annotation(claim, BETA_CLASS) is None


def volume_name(claim: Obj) -> str:
    return text(part(claim, "spec"), "volumeName")


def phase(claim: Obj) -> str:
    return text(part(claim, "status"), "phase")


def is_bound(claim: Obj) -> bool:
    """Both ways, as the binder last said it."""
    return bool(volume_name(claim)) and has_annotation(claim, BIND_COMPLETED)


def requested(claim: Obj) -> str:
    found = part(part(part(claim, "spec"), "resources"), "requests").get("storage")
    return found if isinstance(found, str) else "0"


def requested_bytes(claim: Obj) -> int:
    return bytes_of(requested(claim))


def bytes_of(written: object) -> int:
    """0 for what is no quantity."""
    try:
        return quantity.value(written) if isinstance(written, str | int) else 0
    except ValueError:
        return 0


def access_modes(obj: Obj) -> frozenset[str]:
    return frozenset(texts(part(obj, "spec"), "accessModes"))


def volume_mode(obj: Obj) -> str:
    return text(part(obj, "spec"), "volumeMode") or "Filesystem"


# -- classes


def is_delayed(storage_class: Obj | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def is_default(storage_class: Obj) -> bool:
    return "true" in (annotation(storage_class, _DEFAULT), annotation(storage_class, _DEFAULT_BETA))


def default_class(classes: Iterable[Obj]) -> Obj | None:
    """The newest of those marked; of several of one second, the first by name."""
    found = sorted((each for each in classes if is_default(each)), key=lambda each: objects.name(each))
    return max(found, key=lambda each: text(part(each, "metadata"), "creationTimestamp"), default=None)


# -- claims of pods


class PodClaim(NamedTuple):
    """One volume of a pod that stands for a claim."""

    name: str
    volume: str
    ephemeral: bool
    read_only: bool


def claims_of_pod(pod: Obj) -> Iterator[PodClaim]:
    for volume in parts(part(pod, "spec"), "volumes"):
        name = text(volume, "name")
        if isinstance(source := volume.get("persistentVolumeClaim"), dict):
            yield PodClaim(text(source, "claimName"), name, False, source.get("readOnly") is True)
        elif isinstance(volume.get("ephemeral"), dict):
            yield PodClaim(f"{objects.name(pod)}-{name}", name, True, False)


def is_claim_of_pod(claim: Obj, pod: Obj) -> bool:
    """It was made for an ephemeral volume of this pod."""
    return objects.is_controlled_by(claim, pod)


def not_for_pod(claim: Obj, pod: Obj) -> str:
    """Upstream's words (``ephemeral.VolumeIsForPod``)."""
    where = objects.namespace(claim)
    return f"PVC {where}/{objects.name(claim)} was not created for pod {where}/{objects.name(pod)} (pod is not owner)"
