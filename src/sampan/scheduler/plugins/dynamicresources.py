"""DynamicResources: a pod runs where its claims for devices can be satisfied, and they are before it is bound."""

from __future__ import annotations

from typing import Final

import numpy as np

from sampan.api import objects
from sampan.api.errors import Conflict
from sampan.api.nodes import affinity
from sampan.api.pods import resourceclaims
from sampan.api.pods.resourceclaims import FINALIZER
from sampan.api.reading import part
from sampan.api.resources import RESOURCE_CLAIMS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.records import dataclass
from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.devices.allocator import Impossible, Tries, Want, allocate, want
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Event, Status
from sampan.scheduler.podinfo import PodInfo

_ELSEWHERE: Final = "resourceclaim not available on the node"
_NONE_LEFT: Final = "cannot allocate all claims"
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class _Needs:
    """``placed``: where claims that have their devices can be used; ``wants``: those that need some."""

    placed: tuple[Obj, ...]
    wants: tuple[Want, ...]


class DynamicResources:
    name = "DynamicResources"
    local = False
    only_with = "resourceClaims"
    wakes = frozenset((Event.NODE_ADD, Event.NODE_UPDATE))

    def __init__(self, client: Client) -> None:
        self._client = client
        self._cluster: Cluster | None = None
        #: of the decision that is under way: a pod's uid, what it needs, and what it would get, by node
        self._deciding: tuple[str, _Needs | None, dict[str, list[Obj]]] = ("", None, {})

    def pre_enqueue(self, pod: PodInfo) -> Status:
        missing = next((each for each in pod.resource_claims if each.needed and not each.claim), None)
        if missing is None:
            return SUCCESS
        text = f'pod "{pod.namespace}/{pod.name}": ResourceClaim not created yet'
        return Status(Code.UNRESOLVABLE, (text,), self.name)

    # Deciding

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        if not pod.resource_claims:
            return SKIP
        self._cluster = cluster
        if not cluster.devices.is_known():
            return Status(Code.UNRESOLVABLE, ("devices and their claims are not known yet",), self.name)
        placed, wants = [], []
        for each in pod.resource_claims:
            if not each.needed:
                continue
            claim = cluster.devices.claim(pod.namespace, each.claim)
            if claim is None:
                return self._hopeless(f'resourceclaim "{each.claim}" not found')
            if problem := _problem(claim, pod, template=bool(each.template)):
                return self._hopeless(problem)
            promised = cluster.devices.promise_of(claim)
            allocation = resourceclaims.allocation(claim) or (promised.allocation if promised else None)
            if allocation is not None:
                placed.append(allocation)
                continue
            try:
                wants.append(want(claim, cluster.devices.device_class))
            except Impossible as error:
                return self._hopeless(str(error))
        needs = _Needs(tuple(placed), tuple(wants))
        self._deciding = (pod.uid, needs, {})
        state.data[self.name] = needs
        return SUCCESS

    def _hopeless(self, text: str) -> Status:
        return Status(Code.UNRESOLVABLE, (text,), self.name)

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        needs: _Needs = state.data[self.name]
        nodes, devices = cluster.nodes, cluster.devices
        slots = np.arange(nodes.size)[at]
        ids = np.zeros(len(slots), np.int32)
        elsewhere = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, _ELSEWHERE)
        none_left = cluster.verdicts.id(self.name, Code.UNSCHEDULABLE, _NONE_LEFT)
        taken, tries = devices.taken(), Tries()
        offering = None if devices.pools.is_shared else devices.pools.nodes()
        for position, slot in enumerate(slots):
            name, node = nodes.names[slot], nodes.objects[slot]
            if not name:
                continue
            if not all(_is_usable(allocation, node) for allocation in needs.placed):
                ids[position] = elsewhere
            elif not needs.wants:
                continue
            elif offering is not None and name not in offering:
                ids[position] = none_left
            else:
                try:
                    found = allocate(needs.wants, list(devices.pools.reachable(node)), taken, tries)
                except Impossible as error:
                    ids[position] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, str(error))
                    continue
                if found is None:
                    ids[position] = none_left
                elif self._deciding[0] == pod.uid:
                    self._deciding[2][name] = found
        return ids

    def reserve(self, pod: PodInfo, node: str) -> Status:
        if not pod.resource_claims:
            return SUCCESS
        uid, needs, found = self._deciding
        assert self._cluster is not None and uid == pod.uid and needs is not None, "reserved without a decision"
        for each, allocation in zip(needs.wants, found.get(node, []), strict=bool(needs.wants)):
            self._cluster.devices.promise(each.claim, allocation, pod.uid)
        self._deciding = ("", None, {})
        return SUCCESS

    def unreserve(self, pod: PodInfo, node: str) -> None:
        for claim in self._claims(pod):
            assert self._cluster is not None
            self._cluster.devices.release(claim, pod.uid)

    # Binding

    async def pre_bind(self, pod: PodInfo, node: str) -> Status:
        """Claims are written as allocated and reserved for the pod. Raises ApiError."""
        for claim in self._claims(pod):
            assert self._cluster is not None
            promise = self._cluster.devices.promise_of(claim)
            problem = await self._write(claim, pod, promise.allocation if promise is not None else None)
            if problem:
                return Status(Code.ERROR, (problem,), self.name)
        return SUCCESS

    def _claims(self, pod: PodInfo) -> list[Obj]:
        devices = self._cluster.devices if self._cluster is not None else None
        found = (
            devices.claim(pod.namespace, each.claim)
            for each in pod.resource_claims
            if devices is not None and each.claim
        )
        return [claim for claim in found if claim is not None]

    async def _write(self, claim: Obj, pod: PodInfo, allocation: Obj | None) -> str:
        """ "": it is done; else why not. Others write the claim too, so a conflict is tried again."""
        name, namespace = objects.name(claim), objects.namespace(claim)
        current = claim
        for _ in range(_TRIES):
            if objects.uid(current) != objects.uid(claim) or (problem := _problem(current, pod, template=False)):
                return problem if objects.uid(current) == objects.uid(claim) else f'resourceclaim "{name}" not found'
            have = resourceclaims.allocation(current)
            if have is None and allocation is None:
                return f'resourceclaim "{name}" must be reallocated'
            if have is not None and resourceclaims.is_reserved_for(current, pod.obj):
                return ""
            try:
                if have is None and FINALIZER not in current["metadata"].get("finalizers", ()):
                    new: Obj = objects.copy_of(current)
                    new["metadata"]["finalizers"] = [*new["metadata"].get("finalizers", ()), FINALIZER]
                    current = await self._client.update(RESOURCE_CLAIMS, new)
                new = objects.copy_of(current)
                status = new["status"] = {**part(new, "status")}
                status.setdefault("allocation", allocation)
                status["reservedFor"] = [*resourceclaims.consumers(current), resourceclaims.consumer(pod.obj)]
                await self._client.update(RESOURCE_CLAIMS, new, subresource="status")
                return ""
            except Conflict:
                current = await self._client.get(RESOURCE_CLAIMS, name, namespace)
        return f'resourceclaim "{name}" is being changed by others'


def _is_usable(allocation: Obj, node: Obj) -> bool:
    selector = allocation.get("nodeSelector")
    return not isinstance(selector, dict) or affinity.selector_takes(selector, node)


def _problem(claim: Obj, pod: PodInfo, *, template: bool) -> str:
    name = objects.name(claim)
    if objects.is_deleting(claim):
        return f'resourceclaim "{name}" is being deleted'
    if template and not resourceclaims.is_of_pod(claim, pod.obj):
        return f'ResourceClaim "{name}" was not created for pod "{pod.namespace}/{pod.name}" (pod is not owner)'
    full = len(resourceclaims.consumers(claim)) >= resourceclaims.MOST_CONSUMERS
    if full and not resourceclaims.is_reserved_for(claim, pod.obj):
        return f'resourceclaim "{name}" is in use by {resourceclaims.MOST_CONSUMERS} pods, and no more can use it'
    return ""
