"""Which node may reach which object, because a pod on it uses the object (upstream: the node authorizer's graph).

Kept in step by the caches' changes, at the cost of the references of the one pod or volume that changed. Only names
are kept, shared by pods of one template; the pods themselves are not.

A mirror pod leads to itself alone: what a node can create must never let it reach anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sampan.api.pods.origin import is_mirror
from sampan.api.pods.references import pod_references
from sampan.api.pods.status import node_name
from sampan.api.reading import part, text
from sampan.api.resources import PERSISTENT_VOLUMES, PODS, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader

_SLICES = Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False)
_ATTACHMENTS = Resource("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", False)
_CERTIFICATES = Resource("certificates.k8s.io", "v1", "podcertificaterequests", "PodCertificateRequest", True)
#: resources whose objects say themselves which node they belong to
_BELONGING = {resource.plural: resource for resource in (_SLICES, _ATTACHMENTS, _CERTIFICATES)}

_Key = tuple[str, str]  # (namespace, name)
_References = tuple[tuple[str, str], ...]  # (resource, name) in the pod's namespace
#: volume source -> (the Secret's reference, the field beside it that names the Secret's namespace, "": inside the
#: reference), of those that a kubelet itself must read (VisitPVSecretNames, kubeletVisible)
_VOLUME_SECRETS: dict[str, tuple[tuple[str, str], ...]] = {
    "azureFile": (("secretName", "secretNamespace"),),
    "cephfs": (("secretRef", ""),),
    "cinder": (("secretRef", ""),),
    "flexVolume": (("secretRef", ""),),
    "rbd": (("secretRef", ""),),
    "scaleIO": (("secretRef", ""),),
    "iscsi": (("secretRef", ""),),
    "storageos": (("secretRef", ""),),
    "csi": (("nodePublishSecretRef", ""), ("nodeStageSecretRef", ""), ("nodeExpandSecretRef", "")),
}


class NodeGraph:
    """Invariants: ``_pods`` holds every pod that has a node, below that node; ``_where`` is its inverse;
    ``_templates`` counts the users of each tuple of references; ``_by_secret`` is the inverse of ``_volumes``."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._pods: dict[str, dict[_Key, tuple[Any, _References]]] = {}
        self._where: dict[_Key, str] = {}
        self._templates: dict[_References, list[Any]] = {}  # -> [the shared tuple, how many use it]
        self._volumes: dict[str, tuple[_Key, tuple[_Key, ...]]] = {}  # -> (claim, secrets)
        self._by_secret: dict[_Key, set[str]] = {}
        self._unsubscribe: list[Callable[[], None]] = []

    def start(self) -> None:
        """Idempotent. Must be called once the reader serves pods and volumes."""
        if self._unsubscribe:
            return
        for resource, changed in ((PODS, self._pod_changed), (PERSISTENT_VOLUMES, self._volume_changed)):
            self._unsubscribe.append(self._reader.subscribe(resource, changed, keep=False))
            for obj in self._reader.list(resource):
                changed("ADDED", obj, None, 0)

    def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()

    # Changes

    def _pod_changed(self, event: EventType, pod: Obj, _previous: Obj | None, _revision: int) -> None:
        meta = part(pod, "metadata")
        key = (text(meta, "namespace"), text(meta, "name"))
        node = node_name(pod) if event != "DELETED" else ""
        before = self._where.get(key)
        if before is not None and before == node and not _may_change(pod):
            generation = meta.get("generation")
            if generation is not None and self._pods[node][key][0] == generation:
                return  # only its status changed
        if before is not None:
            self._forget_pod(before, key)
        if node:
            references = () if is_mirror(pod) else self._references(pod)
            self._pods.setdefault(node, {})[key] = (meta.get("generation"), self._shared(references))
            self._where[key] = node

    def _references(self, pod: Obj) -> _References:
        found = dict.fromkeys(pod_references(pod))
        account = text(part(pod, "spec"), "serviceAccountName")
        if account:
            found["serviceaccounts", account] = None
        return tuple(found)

    def _shared(self, references: _References) -> _References:
        held = self._templates.setdefault(references, [references, 0])
        held[1] += 1
        shared: _References = held[0]
        return shared

    def _forget_pod(self, node: str, key: _Key) -> None:
        del self._where[key]
        on_node = self._pods[node]
        _, references = on_node.pop(key)
        if not on_node:
            del self._pods[node]
        held = self._templates[references]
        held[1] -= 1
        if not held[1]:
            del self._templates[references]

    def _volume_changed(self, event: EventType, volume: Obj, _previous: Obj | None, _revision: int) -> None:
        name, spec = text(part(volume, "metadata"), "name"), part(volume, "spec")
        _, secrets = self._volumes.pop(name, (None, ()))
        for secret in secrets:
            self._by_secret[secret].discard(name)
            if not self._by_secret[secret]:
                del self._by_secret[secret]
        reference = part(spec, "claimRef")
        if event == "DELETED" or not reference:
            return
        claim = (text(reference, "namespace"), text(reference, "name"))
        secrets = tuple(dict.fromkeys(_volume_secrets(spec, claim[0])))
        self._volumes[name] = (claim, secrets)
        for secret in secrets:
            self._by_secret.setdefault(secret, set()).add(name)

    # Questions

    def reaches(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether the object belongs to the node, or to something that a pod on it uses."""
        match resource:
            case "pods":
                return self._where.get((namespace, name)) == node
            case "persistentvolumes":
                bound = self._volumes.get(name)
                return bound is not None and self._uses(node, "persistentvolumeclaims", *bound[0])
            case "secrets":
                if self._uses(node, "secrets", namespace, name):
                    return True
                claims = (self._volumes[volume][0] for volume in self._by_secret.get((namespace, name), ()))
                return any(self._uses(node, "persistentvolumeclaims", *claim) for claim in claims)
            case "resourceslices" | "volumeattachments" | "podcertificaterequests":
                found = self._reader.get(_BELONGING[resource], namespace, name)
                return found is not None and text(part(found, "spec"), "nodeName") == node
        return self._uses(node, resource, namespace, name)

    def _uses(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """At most some hundred pods a node, each with a few references: not worth an index of them."""
        wanted = (resource, name)
        for (where, _), (_, references) in self._pods.get(node, {}).items():
            if where == namespace and wanted in references:
                return True
        return False


def _may_change(pod: Obj) -> bool:
    """Whether the pod's references may change without its generation: claims made for it are named in its status."""
    return bool(part(pod, "spec").get("resourceClaims")) or "extendedResourceClaimStatus" in part(pod, "status")


def _volume_secrets(spec: Obj, claim_namespace: str) -> Iterator[_Key]:
    for source, references in _VOLUME_SECRETS.items():
        holder = part(spec, source)
        for field, namespace_field in references if holder else ():
            if namespace_field:
                name, namespace = text(holder, field), text(holder, namespace_field)
            else:
                name, namespace = text(part(holder, field), "name"), text(part(holder, field), "namespace")
            if name:
                yield namespace or claim_namespace, name
