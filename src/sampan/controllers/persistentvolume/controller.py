"""The persistentvolume-binder-controller: looks at claims and volumes until there is nothing left to write.

The decisions are ``claim.plan_claim`` and ``volume.plan_volume``. Each look comes to one write at most, and after it
the key is looked at again on what was written. Several claims may be looked at together: of two that want the same
volume, the second's write is refused by its resourceVersion, and it looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from sampan.api import objects
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.pods.status import is_terminal, node_name
from sampan.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)
from sampan.api.storage import claims, matching, volumes
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import Controller, Result, observe
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import key_of
from sampan.controllers.context import Context
from sampan.controllers.persistentvolume import claim as of_claims
from sampan.controllers.persistentvolume import recycling
from sampan.controllers.persistentvolume import volume as of_volumes
from sampan.controllers.persistentvolume.step import Plan, Write
from sampan.controllers.workload.podclaims import index_by_claim, users_of_claim

NAME: Final = "persistent-volume-binder"
_COMPONENT: Final = "persistentvolume-controller"
#: steps of one look before others have their turn: binding takes four
_STEPS: Final = 8
#: how many claims are told at once of a free volume, and when the next are: those may have found others
_OFFERS: Final = 100
_OFFER_SECONDS: Final = 0.2
_BY_CLAIM: Final = "volume by its claim"
_BY_CLASS: Final = "claim without a volume by its class"


class Key(NamedTuple):
    kind: Literal["claim", "volume"]
    namespace: str
    name: str


class PersistentVolumeController:
    def __init__(self, context: Context) -> None:
        self._clock, self._image = context.clock, context.config.recycler_image
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, _COMPONENT)
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informers.informer(PERSISTENT_VOLUMES)
        self._classes = context.informers.informer(STORAGE_CLASSES)
        self._pods = context.informers.informer(PODS)
        self._free = matching.FreeVolumes()
        self._volumes.add_index(_BY_CLAIM, lambda volume: [key] if (key := volumes.claim_key(volume)) else [])
        self._claims.add_index(_BY_CLASS, _class_without_volume)
        index_by_claim(self._pods)
        self._volumes.add_handler(self._volume_changed)
        self._controller: Controller[Key] = Controller(NAME, self.sync)
        self._controller.watch(self._claims, self._keys_of_claim)
        self._controller.watch(self._volumes, self._keys_of_volume)
        self._controller.watch(self._classes, self._keys_of_class)
        self._controller.watch(self._pods, self._keys_of_pod)

    @property
    def is_idle(self) -> bool:
        """Nothing is being looked at, and nothing waits to be."""
        return self._controller.queue.idle and not self._controller.queue.delayed

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    # Keys

    def _volume_changed(self, kind: ChangeType, volume: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._free.drop(objects.name(volume))
        else:
            self._free.put(volume)

    def _keys_of_claim(self, claim: Obj) -> Iterable[Key]:
        yield _claim_key(claim)
        if name := claims.volume_name(claim):
            yield Key("volume", "", name)
        for volume in self._volumes.by_index(_BY_CLAIM, f"{objects.namespace(claim)}/{objects.name(claim)}"):
            yield Key("volume", "", objects.name(volume))

    def _keys_of_volume(self, volume: Obj) -> Iterable[Key]:
        yield Key("volume", "", objects.name(volume))
        if (reference := volumes.claim_ref(volume)) is not None:
            yield Key("claim", str(reference.get("namespace") or ""), str(reference.get("name") or ""))

    def _keys_of_class(self, storage_class: Obj) -> Iterable[Key]:
        waiting = list(self._claims.by_index(_BY_CLASS, objects.name(storage_class)))
        if claims.is_default(storage_class):
            waiting += self._claims.by_index(_BY_CLASS, "")
        return [_claim_key(claim) for claim in waiting]

    def _keys_of_pod(self, pod: Obj) -> Iterable[Key]:
        """A pod that waits for a node is told of in its claims' Events; one that recycles, in its volume's phase."""
        if name := recycling.volume_of(pod):
            yield Key("volume", "", name)
        for each in claims.claims_of_pod(pod):
            claim = self._claims.get(objects.namespace(pod), each.name)
            if claim is None or objects.is_deleting(pod) or is_terminal(pod):
                for volume in self._volumes.by_index(_BY_CLAIM, f"{objects.namespace(pod)}/{each.name}"):
                    yield Key("volume", "", objects.name(volume))
            elif not claims.volume_name(claim) and not node_name(pod):
                yield _claim_key(claim)

    # Work

    async def sync(self, key: Key) -> Result:
        """Until nothing is left to write for this key."""
        for _ in range(_STEPS):
            plan = await self._plan(key)
            if plan.claim is not None:
                self._controller.enqueue(Key("claim", *plan.claim))
            if plan.write is not None:
                await self._apply(plan.write)
            for tell in plan.tells:
                self._recorder.event(tell.about, tell.kind, tell.reason, tell.message)
            if plan.write is None:
                offered = key.kind == "volume" and await self._offer(key.name)
                return Result(_OFFER_SECONDS if offered else plan.after_seconds)
        return Result(0.0)

    async def _offer(self, name: str) -> bool:
        """Has claims that wait for a volume like this free one looked at; True: while it is free, more are to be. A few
        at a time, whatever number waits, and others have their turn meanwhile."""
        volume = self._volumes.get("", name)
        if volume is None or not matching.is_free(volume):
            return False
        name_of_class = volumes.class_of(volume)
        if claims.is_delayed(self._classes.get("", name_of_class) if name_of_class else None):
            return False  # the scheduler's to give
        found = 0
        for number, claim in enumerate(self._claims.by_index(_BY_CLASS, name_of_class), 1):
            if matching.fits(volume, claim):
                self._controller.enqueue(_claim_key(claim))
                found += 1
            if found == _OFFERS:
                break
            if number % _OFFERS == 0:
                await asyncio.sleep(0)
        return found > 0

    async def _plan(self, key: Key) -> Plan:
        if key.kind == "claim":
            claim = self._claims.get(key.namespace, key.name)
            return Plan() if claim is None else of_claims.plan_claim(self._observe_claim(claim))
        volume = self._volumes.get("", key.name)
        if volume is None:
            return Plan()
        return of_volumes.plan_volume(self._observe_volume(volume, await self._claim_of(volume)))

    async def _claim_of(self, volume: Obj) -> Obj | None:
        """The claim of the name that the volume has. That it is gone costs data, and the informer of claims may be
        behind that of volumes: before a volume is released for it, the server is asked. Raises ApiError."""
        reference = volumes.claim_ref(volume) or {}
        namespace, name = str(reference.get("namespace") or ""), str(reference.get("name") or "")
        claim = self._claims.get(namespace, name) if name else None
        uid = reference.get("uid")
        if not name or not uid or (claim is not None and objects.uid(claim) == uid):
            return claim
        if volumes.phase(volume) in ("Released", "Failed"):
            return claim  # it was asked then
        try:
            return await self._client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace)
        except NotFound:
            return None

    def _observe_claim(self, claim: Obj) -> of_claims.Observed:
        where = f"{objects.namespace(claim)}/{objects.name(claim)}"
        if name := claims.volume_name(claim):
            return of_claims.Observed(claim, named=self._volumes.get("", name))
        if claims.has_annotation(claim, claims.BIND_COMPLETED):
            return of_claims.Observed(claim)
        storage_class = self._classes.get("", claims.class_of(claim)) if claims.class_of(claim) else None
        match = matching.best_kept(self._volumes.by_index(_BY_CLAIM, where), claim)
        if match is None and not claims.is_delayed(storage_class):
            match = self._free.find(claim, lambda name: self._volumes.get("", name))
        if match is not None:
            return of_claims.Observed(claim, match=match)
        default = claims.default_class(self._classes.list()) if claims.says_no_class(claim) else None
        pods = users_of_claim(self._pods, *key_of(claim)) if claims.is_delayed(storage_class) else ()
        waiting = next((objects.name(pod) for pod in pods if not node_name(pod) and not is_terminal(pod)), "")
        return of_claims.Observed(claim, storage_class=storage_class, default_class=default, waiting=waiting)

    def _observe_volume(self, volume: Obj, claim: Obj | None) -> of_volumes.Observed:
        reference = volumes.claim_ref(volume) or {}
        namespace, name = str(reference.get("namespace") or ""), str(reference.get("name") or "")
        recycles = (volume.get("spec") or {}).get("persistentVolumeReclaimPolicy") == "Recycle"
        pod = None
        users: tuple[str, ...] = ()
        if recycles:
            pod = self._pods.get(recycling.NAMESPACE, recycling.pod_name(objects.name(volume)))
            users = tuple(
                f"{objects.namespace(user)}/{objects.name(user)}"
                for user in users_of_claim(self._pods, namespace, name)
                if not is_terminal(user)
            )
        return of_volumes.Observed(volume, self._clock.now(), claim, pod, users, self._image)

    async def _apply(self, write: Write) -> None:
        resource, obj = write.resource, write.obj
        namespace, informer = objects.namespace(obj), self._informer_of(write)
        if write.verb == "create":
            try:
                answer = await self._client.create(resource, obj)
            except AlreadyExists:  # of an earlier life, which the informer has not shown yet
                await informer.wait_until(lambda: informer.get(namespace, objects.name(obj)) is not None)
                return
        elif write.verb == "delete":
            try:
                answer = await self._client.delete(resource, objects.name(obj), namespace, uid=objects.uid(obj))
            except NotFound:
                return
        elif write.verb == "status":
            answer = await self._client.update_status(resource, obj)
        else:
            answer = await self._client.update(resource, obj)
        await observe(informer, answer, namespace)

    def _informer_of(self, write: Write) -> Informer:
        return {PERSISTENT_VOLUMES: self._volumes, PERSISTENT_VOLUME_CLAIMS: self._claims, PODS: self._pods}[
            write.resource
        ]


def _claim_key(claim: Obj) -> Key:
    return Key("claim", *key_of(claim))


def _class_without_volume(claim: Obj) -> Iterable[str]:
    if claims.volume_name(claim) or claims.has_annotation(claim, claims.BIND_COMPLETED):
        return ()
    return (claims.class_of(claim),)
