"""DefaultStorageClass, PersistentVolumeClaimResize, DefaultIngressClass and StorageObjectInUseProtection."""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.reading import flag, part, text
from sampan.api.resources import STORAGE_CLASSES, Resource
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader

_DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_STORAGE_BETA = "storageclass.beta.kubernetes.io/is-default-class"
_CLASS_BETA = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
_INGRESS_CLASSES = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False)


def _annotations(obj: Obj) -> dict[str, str]:
    return part(part(obj, "metadata"), "annotations")


def _newest(found: list[Obj]) -> Obj | None:
    """The newest wins; of several of one second, the first by name (upstream: GetDefaultClass)."""
    found.sort(key=lambda item: str(item["metadata"]["name"]))
    return max(found, key=lambda item: str(item["metadata"].get("creationTimestamp", "")), default=None)


class DefaultStorageClass(Plugin):
    name = "DefaultStorageClass"
    resources = frozenset({("", "persistentvolumeclaims")})

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def admit(self, attributes: AdmissionAttributes) -> None:
        claim = attributes.obj
        if claim is None or not is_for(attributes, "persistentvolumeclaims", "CREATE"):
            return
        if not isinstance(claim.get("spec"), dict):
            return  # validation's to say
        if claim["spec"].get("storageClassName") is not None or _CLASS_BETA in _annotations(claim):
            return
        chosen = _newest(
            [
                item
                for item in self._reader.list(STORAGE_CLASSES)
                if "true" in (_annotations(item).get(_DEFAULT_STORAGE), _annotations(item).get(_DEFAULT_STORAGE_BETA))
            ]
        )
        if chosen is not None:
            claim["spec"]["storageClassName"] = chosen["metadata"]["name"]


class PersistentVolumeClaimResize(Plugin):
    """A claim may grow where its class says that volumes can."""

    name = "PersistentVolumeClaimResize"
    resources = frozenset({("", "persistentvolumeclaims")})

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None or not is_for(attributes, "persistentvolumeclaims", "UPDATE"):
            return
        new, old = _storage(attributes.obj), _storage(attributes.old)
        if new is None or old is None or quantity.compare(new, old) <= 0:
            return
        if text(part(attributes.old, "status"), "phase") != "Bound":
            raise refuse(attributes, "Only bound persistent volume claims can be expanded")
        if not self._may_grow(attributes.obj, attributes.old or {}):
            raise refuse(
                attributes,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize",
            )

    def _may_grow(self, new: Obj, old: Obj) -> bool:
        name = _class_of(new)
        if not name or name != _class_of(old):
            return False
        return flag(self._reader.get(STORAGE_CLASSES, None, name), "allowVolumeExpansion")


def _storage(claim: Obj | None) -> str | None:
    found = part(part(part(claim, "spec"), "resources"), "requests").get("storage")
    return found if isinstance(found, str) else None


def _class_of(claim: Obj) -> str:
    return _annotations(claim).get(_CLASS_BETA) or text(part(claim, "spec"), "storageClassName")


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"
    resources = frozenset({("networking.k8s.io", "ingresses")})

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def admit(self, attributes: AdmissionAttributes) -> None:
        ingress = attributes.obj
        if ingress is None or not is_for(attributes, "ingresses", "CREATE", group="networking.k8s.io"):
            return
        if not isinstance(ingress.get("spec"), dict):
            return  # validation's to say
        if ingress["spec"].get("ingressClassName") or "kubernetes.io/ingress.class" in _annotations(ingress):
            return
        found = [i for i in self._reader.list(_INGRESS_CLASSES) if _annotations(i).get(_DEFAULT_INGRESS) == "true"]
        chosen = _newest(found)
        if chosen is not None:
            ingress["spec"]["ingressClassName"] = chosen["metadata"]["name"]


class StorageObjectInUseProtection(Plugin):
    """Claims, volumes and classes of attributes get the finalizer that the protection controllers remove once nobody
    uses them."""

    name = "StorageObjectInUseProtection"
    resources = frozenset(
        {("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("storage.k8s.io", "volumeattributesclasses")}
    )

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None:
            return
        if is_for(attributes, "persistentvolumeclaims", "CREATE"):
            finalizer = "kubernetes.io/pvc-protection"
        elif is_for(attributes, "persistentvolumes", "CREATE"):
            finalizer = "kubernetes.io/pv-protection"
        elif is_for(attributes, "volumeattributesclasses", "CREATE", group="storage.k8s.io"):
            finalizer = "kubernetes.io/vac-protection"
        else:
            return
        meta = attributes.obj["metadata"]
        finalizers = meta.get("finalizers") or []
        if finalizer not in finalizers:
            meta["finalizers"] = [*finalizers, finalizer]
