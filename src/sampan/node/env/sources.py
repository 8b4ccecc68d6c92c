"""The seam between a pod's needs and the API: where ConfigMaps, Secrets, claims and trust bundles come from.

Used by ``sampan.node.env`` and ``sampan.node.volumes``; ``objects.ClientObjects`` implements it over a client, tests
implement it with dicts. Also names, purely, what a pod refers to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from sampan.api import resources
from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import Resource
from sampan.api.types import Obj


class ObjectSource(Protocol):
    """Reads one object. Every method raises ``sampan.api.errors.ApiError`` (NotFound ...)."""

    async def get_config_map(self, namespace: str, name: str) -> Obj: ...
    async def get_secret(self, namespace: str, name: str) -> Obj: ...
    async def get_persistent_volume_claim(self, namespace: str, name: str) -> Obj: ...
    async def get_persistent_volume(self, name: str) -> Obj: ...
    async def get_trust_bundle(self, name: str) -> Obj: ...
    async def list_trust_bundles(self, signer: str) -> Sequence[Obj]: ...


class ObjectRef(NamedTuple):
    """One object; or all ClusterTrustBundles of a signer, by the signer's name (which has a slash, as no object's
    has); or the PodCertificateRequests of one pod, by its UID."""

    resource: Resource
    namespace: str
    name: str


def describe_failure(resource: Resource, name: str, error: ApiError) -> str:
    """The kubelet's words: it names the kind in the singular, where the API server names the plural."""
    if isinstance(error, NotFound):
        return f'{resource.kind.lower()} "{name}" not found'
    return error.message


def all_containers(pod: Obj) -> Iterator[Obj]:
    """Every container of every sort, so that no rule forgets one (CVE-2023-2727, CVE-2024-3177)."""
    spec = pod["spec"]
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def pod_references(pod: Obj) -> frozenset[ObjectRef]:
    """What reaches the pod when it changes: ConfigMaps, Secrets, ClusterTrustBundles and its own certificates."""
    namespace = pod["metadata"]["namespace"]
    found: set[ObjectRef] = set()

    def add(resource: Resource, name: str | None) -> None:
        if name:
            found.add(ObjectRef(resource, namespace, name))

    for secret in pod["spec"].get("imagePullSecrets") or ():
        add(resources.SECRETS, secret.get("name"))
    for container in all_containers(pod):
        for source in container.get("envFrom") or ():
            add(resources.CONFIG_MAPS, (source.get("configMapRef") or {}).get("name"))
            add(resources.SECRETS, (source.get("secretRef") or {}).get("name"))
        for variable in container.get("env") or ():
            value_from = variable.get("valueFrom") or {}
            add(resources.CONFIG_MAPS, (value_from.get("configMapKeyRef") or {}).get("name"))
            add(resources.SECRETS, (value_from.get("secretKeyRef") or {}).get("name"))
    for volume in pod["spec"].get("volumes") or ():
        add(resources.CONFIG_MAPS, (volume.get("configMap") or {}).get("name"))
        add(resources.SECRETS, (volume.get("secret") or {}).get("secretName"))
        for projection in (volume.get("projected") or {}).get("sources") or ():
            add(resources.CONFIG_MAPS, (projection.get("configMap") or {}).get("name"))
            add(resources.SECRETS, (projection.get("secret") or {}).get("name"))
            bundle = projection.get("clusterTrustBundle") or {}
            if name := bundle.get("name") or bundle.get("signerName"):
                found.add(ObjectRef(resources.CLUSTER_TRUST_BUNDLES, "", name))
            if projection.get("podCertificate"):
                add(resources.POD_CERTIFICATE_REQUESTS, pod["metadata"]["uid"])
    return frozenset(found)
