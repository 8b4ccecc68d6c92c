"""The seam between a pod's needs and the API: where ConfigMaps, Secrets and claims come from.

Used by ``sampan.node.env`` and ``sampan.node.volumes``; ``objects.ClientObjects`` implements it over a client, tests
implement it with dicts. Also names, purely, what a pod refers to.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class ObjectRef(NamedTuple):
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
    """The ConfigMaps and Secrets whose content reaches the pod: what the node may read, and watches."""
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
    return frozenset(found)
