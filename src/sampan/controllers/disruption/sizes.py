"""How many pods there should be, asked of those who keep them: workloads, and anything else that has a Scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.registry import registry
from sampan.api.resources import (
    DEPLOYMENTS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)
from sampan.api.types import Obj, OwnerReference
from sampan.client.client import Client
from sampan.client.informer import Informer, InformerFactory
from sampan.client.served import ServedResources
from sampan.records import dataclass


class NoScale(Exception):
    """The wanted number of pods cannot be known; the message says of which pod, or why."""


@dataclass(frozen=True, slots=True)
class Size:
    """The sum of the wanted replicas, and the pods that nobody keeps: they have no number to be brought back to."""

    replicas: int
    unmanaged: tuple[str, ...]


class Sizes:
    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._sets = informers.informer(REPLICA_SETS)
        self._deployments = informers.informer(DEPLOYMENTS)
        #: those that are their pods' own measure, by kind and version
        self._own: dict[tuple[str, str], Informer] = {
            (resource.kind, resource.api_version): informers.informer(resource)
            for resource in (REPLICATION_CONTROLLERS, STATEFUL_SETS)
        }
        self._served = ServedResources(client, lambda resource: None, lambda resource: None)

    @property
    def informers(self) -> list[Informer]:
        return [self._sets, self._deployments, *self._own.values()]

    async def of(self, pods: Sequence[Obj]) -> Size:
        """Raises NoScale; ApiError when the server cannot be asked."""
        sizes: dict[str, int] = {}
        seen: set[str] = set()
        unmanaged: list[str] = []
        for pod in pods:
            controller = objects.controller_of(pod)
            if controller is None:
                unmanaged.append(pod["metadata"]["name"])
            elif controller["uid"] not in seen:
                seen.add(controller["uid"])
                uid, size = await self._size(pod, controller)
                sizes[uid] = size
        return Size(sum(sizes.values()), tuple(unmanaged))

    async def _size(self, pod: Obj, controller: OwnerReference) -> tuple[str, int]:
        """Uid and wanted replicas of what scales a pod: of a ReplicaSet's pods, its Deployment if it has one."""
        namespace = pod["metadata"]["namespace"]
        kind = controller["kind"], controller["apiVersion"]
        if kind == (REPLICA_SETS.kind, REPLICA_SETS.api_version):
            owner = _same(self._sets.get(namespace, controller["name"]), controller)
            above = objects.controller_of(owner) if owner is not None else None
            if above is not None and above["kind"] == DEPLOYMENTS.kind:
                owner = _same(self._deployments.get(namespace, above["name"]), above)
        elif kind in self._own:
            owner = _same(self._own[kind].get(namespace, controller["name"]), controller)
        else:
            owner = _same(await self._read_scale(namespace, controller), controller)
        if owner is None:
            raise NoScale(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        return owner["metadata"]["uid"], int(owner["spec"].get("replicas") or 0)

    async def _read_scale(self, namespace: str, controller: OwnerReference) -> Obj | None:
        group = controller["apiVersion"].rpartition("/")[0]
        resource, has_scale = _built_in(group, controller["kind"])
        if resource is None:
            if self._served.find(group, controller["kind"]) is None:
                await self._served.refresh()
            resource = self._served.find(group, controller["kind"])
            has_scale = self._served.has_scale(group, controller["kind"])
        if resource is None:
            raise NoScale(f'no matches for kind "{controller["kind"]}" in version "{controller["apiVersion"]}"')
        if not has_scale:
            name = f"{resource.plural}.{group}" if group else resource.plural
            raise NoScale(f"{name} does not implement the scale subresource")
        try:
            return await self._client.get(resource, controller["name"], namespace, "scale")
        except NotFound:
            return None


@lru_cache(maxsize=256)
def _built_in(group: str, kind: str) -> tuple[Resource | None, bool]:
    """In the version that has a Scale, if one has; and whether one has."""
    found = [each for each in registry().kinds(group) if each.kind == kind and each.namespaced]
    scaled = [each for each in found if each.scale is not None]
    for each in (*scaled, *found):
        return Resource(each.group, each.version, each.plural, each.kind, True), bool(scaled)
    return None, False


def _same(owner: Obj | None, reference: OwnerReference) -> Obj | None:
    """What bears the name by now may be another."""
    return owner if owner is not None and owner["metadata"].get("uid") == reference["uid"] else None
