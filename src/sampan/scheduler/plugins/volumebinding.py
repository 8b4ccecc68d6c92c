"""VolumeBinding: a pod runs where its volumes can be reached or made, and its claims are bound before it is."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from sampan.api import objects
from sampan.api.reading import text_map
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.records import dataclass
from sampan.scheduler.arrays import At, Ids
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import SKIP, SUCCESS, Code, CycleState, Event, Status
from sampan.scheduler.plugins.volumechoice import Choice, choose, names, sort_claims
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.storage import Storage, key_of

_REASONS: Final = {
    1: "node(s) didn't match PersistentVolume's node affinity",
    2: "node(s) didn't find available persistent volumes to bind",
    8: "node(s) did not have enough free storage",
    4: "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
}
_UNBOUND: Final = "pod has unbound immediate PersistentVolumeClaims"
#: how long a binding waits for its claims (``bindTimeoutSeconds``)
BIND_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Promise:
    """What Reserve decided: which claim gets which volume, None: one is to be made."""

    claims: tuple[tuple[Obj, Obj | None], ...]


class VolumeBinding:
    name = "VolumeBinding"
    local = False
    only_with = "volumes"
    wakes = frozenset((Event.NODE_ADD, Event.NODE_UPDATE))

    def __init__(self, client: Client, bind_seconds: float = BIND_SECONDS) -> None:
        self._client = client
        self._bind_seconds = bind_seconds
        self._cluster: Cluster | None = None
        #: of the decision that is under way: a pod's uid, and what it would get on each node
        self._chosen: tuple[str, Choice | None] = ("", None)
        #: by the pod's uid
        self._promises: dict[str, _Promise] = {}

    # Deciding

    def pre_filter(self, state: CycleState, pod: PodInfo, cluster: Cluster) -> Status:
        if not pod.claims:
            return SKIP
        self._cluster = cluster
        found: list[Obj] = []
        for each in pod.claims:
            claim = cluster.storage.claim(pod.namespace, each.name)
            if problem := _problem(pod, each, claim):
                return Status(Code.UNRESOLVABLE, (problem,), self.name)
            assert claim is not None
            found.append(claim)
        needs = sort_claims(found, cluster.storage)
        if needs.immediate:
            return Status(Code.UNRESOLVABLE, (_UNBOUND,), self.name)
        state.data[self.name] = needs
        return SUCCESS

    def filter(self, state: CycleState, pod: PodInfo, cluster: Cluster, at: At) -> Ids | None:
        choice = choose(state.data[self.name], cluster.storage, cluster.nodes, at)
        if isinstance(at, slice):
            self._chosen = (pod.uid, choice)
        failed = ~choice.reached * 1 + ~choice.satisfied * 2 + ~choice.known * 4 + ~choice.roomy * 8
        ids = np.zeros(len(failed), np.int32)
        for bits in np.unique(failed):
            if bits:
                reasons = [reason for bit, reason in _REASONS.items() if bits & bit]
                ids[failed == bits] = cluster.verdicts.id(self.name, Code.UNRESOLVABLE, *reasons)
        return ids

    def reserve(self, pod: PodInfo, node: str) -> Status:
        if not pod.claims:
            return SUCCESS
        cluster = self._cluster
        assert cluster is not None, "a pod is reserved that was not decided on"
        storage, slot = cluster.storage, cluster.nodes.slot_of[node]
        uid, choice = self._chosen
        if uid == pod.uid and choice is not None:  # of this very decision: nothing has happened since
            promised = tuple(names(choice, slot))
        else:
            found = [claim for each in pod.claims if (claim := storage.claim(pod.namespace, each.name)) is not None]
            promised = tuple(names(choose(sort_claims(found, storage), storage, cluster.nodes, np.array([slot])), 0))
        self._chosen = ("", None)
        for claim, volume in promised:
            if volume is not None:
                storage.give(objects.name(volume), claim, pod.uid)
            else:
                storage.select(claim, node, pod.uid)
        if promised:
            self._promises[pod.uid] = _Promise(promised)
        return SUCCESS

    def unreserve(self, pod: PodInfo, node: str) -> None:
        if self._promises.pop(pod.uid, None) is not None and self._cluster is not None:
            self._cluster.storage.release(pod.uid)

    # Binding

    def waits(self, pod: PodInfo) -> bool:
        """``pre_bind`` waits for others: it holds no place meanwhile."""
        return pod.uid in self._promises

    async def pre_bind(self, pod: PodInfo, node: str) -> Status:
        """Raises ApiError."""
        promise = self._promises.get(pod.uid)
        if promise is None or self._cluster is None:
            return SUCCESS
        storage = self._cluster.storage
        for claim, volume in promise.claims:
            if volume is None:
                await self._select(claim, node, storage)
            else:
                await self._give(claim, volume)
        keys = [key_of(claim) for claim, _ in promise.claims]
        try:
            async with asyncio.timeout(self._bind_seconds):
                while True:
                    problem = self._progress(promise, node, storage)
                    if problem is None:
                        return SUCCESS
                    if problem:
                        return Status(Code.ERROR, (f"binding volumes: {problem}",), self.name)
                    await storage.wait_changed(keys)
        except TimeoutError:
            return Status(Code.ERROR, ("binding volumes: timed out waiting for the condition",), self.name)

    def post_bind(self, pod: PodInfo, node: str) -> None:
        self.unreserve(pod, node)

    async def _select(self, claim: Obj, node: str, storage: Storage) -> None:
        """The claim says where its volume is to be made."""
        current = storage.claim(objects.namespace(claim), objects.name(claim)) or claim
        if claims.annotation(current, claims.SELECTED_NODE) == node:
            return
        new: Obj = objects.copy_of(claim)
        new["metadata"].setdefault("annotations", {})[claims.SELECTED_NODE] = node
        await self._client.update(PERSISTENT_VOLUME_CLAIMS, new)

    async def _give(self, claim: Obj, volume: Obj) -> None:
        """The volume says whose it is to be; the binder does the rest."""
        if (new := volumes.given_to(volume, claim)) is not None:
            await self._client.update(PERSISTENT_VOLUMES, new)

    def _progress(self, promise: _Promise, node: str, storage: Storage) -> str | None:
        """None: all claims are bound. "": not yet. Else why they will not be on this node."""
        waiting = False
        for claim, volume in promise.claims:
            name = objects.name(claim)
            current = storage.claim(objects.namespace(claim), name)
            if current is None or objects.uid(current) != objects.uid(claim):
                return f'persistentvolumeclaim "{name}" not found'
            if objects.is_deleting(current):
                return f'persistentvolumeclaim "{name}" is being deleted'
            if not claims.is_bound(current):
                if volume is None and self._was_reset(current, claim, node):
                    return f'provisioning failed for PVC "{name}"'
                waiting = True
                continue
            bound = storage.volume(claims.volume_name(current))
            if bound is None:
                waiting = True
            elif not self._is_reachable(bound, node):
                return f'pv "{objects.name(bound)}" node affinity doesn\'t match node "{node}"'
        return "" if waiting else None

    @staticmethod
    def _was_reset(current: Obj, claim: Obj, node: str) -> bool:
        """The provisioner could not do it there and has taken the node's name away. What the informer shows may still
        be the claim of before our own write."""
        seen = objects.resource_version(current) != objects.resource_version(claim)
        return seen and claims.annotation(current, claims.SELECTED_NODE) not in (node,)

    def _is_reachable(self, volume: Obj, node: str) -> bool:
        assert self._cluster is not None
        slot = self._cluster.nodes.slot_of.get(node)
        if slot is None:
            return False
        labels = text_map(self._cluster.nodes.objects[slot].get("metadata"), "labels")
        return volumes.is_reachable(volume, labels, node)


def _problem(pod: PodInfo, wanted: claims.PodClaim, claim: Obj | None) -> str:
    """Why the pod cannot be placed anywhere; "": nothing of this claim speaks against it."""
    if claim is None:
        if wanted.ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{wanted.name}"'
        return f'persistentvolumeclaim "{wanted.name}" not found'
    if claims.phase(claim) == "Lost":
        volume = claims.volume_name(claim)
        return f'persistentvolumeclaim "{wanted.name}" bound to non-existent persistentvolume "{volume}"'
    if objects.is_deleting(claim):
        return f'persistentvolumeclaim "{wanted.name}" is being deleted'
    if wanted.ephemeral and not claims.is_claim_of_pod(claim, pod.obj):
        return claims.not_for_pod(claim, pod.obj)
    return ""
