"""The API objects that a pod refers to.

Pure. The node authorizer, NodeRestriction, ServiceAccount and who cleans tokens read pods through here, so that none of
them forgets a sort of container or of volume (CVE-2023-2727). Pods may be half-valid (admission sees them before
validation) or damaged (the store): what is not of its type counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.pods.containers import walk
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj

#: volume source -> the field that holds the name of a Secret, or a reference to one (VisitPodSecretNames)
_SECRET_VOLUMES = {
    "azureFile": "secretName",
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "secret": "secretName",
    "storageos": "secretRef",
    "csi": "nodePublishSecretRef",
}
#: what NodeRestriction calls the API object behind a volume source (HasAPIObjectReference), in its order
_API_VOLUMES = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_API_SOURCES = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def pod_references(pod: Obj) -> Iterator[tuple[str, str]]:
    """(resource, name) of each secret, configmap, claim and resource claim the pod uses, in its own namespace."""
    for resource, name in _all_references(pod):
        if name:
            yield resource, name


def _all_references(pod: Obj) -> Iterator[tuple[str, str]]:
    spec = part(pod, "spec")
    for secret in parts(spec, "imagePullSecrets"):
        yield "secrets", text(secret, "name")
    for _, container in walk(pod):
        for entry in parts(container, "envFrom"):
            yield from _by_ref(entry, "configMapRef", "secretRef")
        for variable in parts(container, "env"):
            if "valueFrom" in variable:
                yield from _by_ref(part(variable, "valueFrom"), "configMapKeyRef", "secretKeyRef")
    for volume in parts(spec, "volumes"):
        yield from _volume_references(volume, text(part(pod, "metadata"), "name"))
    for claim in resource_claim_names(pod):
        yield "resourceclaims", claim


def _by_ref(holder: Obj, config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    yield "configmaps", text(part(holder, config_map), "name")
    yield "secrets", text(part(holder, secret), "name")


def _volume_references(volume: Obj, pod_name: str) -> Iterator[tuple[str, str]]:
    for source in volume:
        if source == "configMap":
            yield "configmaps", text(part(volume, source), "name")
        elif source in _SECRET_VOLUMES:
            holder, field = part(volume, source), _SECRET_VOLUMES[source]
            yield "secrets", text(holder, field) or text(part(holder, field), "name")
    for projected in parts(part(volume, "projected"), "sources"):
        yield from _by_ref(projected, "configMap", "secret")
    claim = text(part(volume, "persistentVolumeClaim"), "claimName")
    if not claim and "ephemeral" in volume:
        claim = f"{pod_name}-{text(volume, 'name')}"
    yield "persistentvolumeclaims", claim


def resource_claim_names(pod: Obj) -> Iterator[str]:
    """The ResourceClaims of the pod: named by it, or made for it and then named in its status."""
    status = part(pod, "status")
    made = {text(entry, "name"): text(entry, "resourceClaimName") for entry in parts(status, "resourceClaimStatuses")}
    for claim in parts(part(pod, "spec"), "resourceClaims"):
        yield text(claim, "resourceClaimName") or made.get(text(claim, "name"), "")
    yield text(part(status, "extendedResourceClaimStatus"), "resourceClaimName")


def api_reference(pod: Obj) -> str:
    """What kind of API object the pod refers to, as upstream names it (HasAPIObjectReference); "": none."""
    spec = part(pod, "spec")
    if text(spec, "serviceAccountName"):
        return "serviceaccounts"
    named = {resource for resource, _ in pod_references(pod)}
    for resource in ("secrets", "configmaps"):
        if resource in named:
            return resource
    if any(parts(spec, "resourceClaims")):
        return "resourceclaims"
    for volume in parts(spec, "volumes"):
        for source, word in _API_VOLUMES.items():
            if volume.get(source) is not None:
                return word
        for projected in parts(part(volume, "projected"), "sources"):
            for source, word in _API_SOURCES.items():
                if projected.get(source) is not None:
                    return word
    return ""
