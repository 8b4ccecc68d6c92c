"""The controllers that remove ``kubernetes.io/pvc-protection`` and ``kubernetes.io/pv-protection`` when it is time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.pods.status import node_name
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, key_of, own_key, revision_of
from sampan.controllers.context import Context
from sampan.controllers.volumeprotection.plan import is_claim_in_use, is_volume_in_use, plan_finalizer
from sampan.controllers.workload.podclaims import index_by_claim, users_of_claim

CLAIMS_NAME: Final = "pvc-protection-controller"
VOLUMES_NAME: Final = "pv-protection-controller"


class VolumeProtectionController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(VOLUMES_NAME)
        self._volumes = context.informers.informer(PERSISTENT_VOLUMES)
        self._controller: Controller[ObjectKey] = Controller(VOLUMES_NAME, self.sync)
        self._controller.watch(self._volumes, own_key)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        volume = self._volumes.get(*key)
        new = None if volume is None else plan_finalizer(volume, volumes.PROTECTION, in_use=is_volume_in_use(volume))
        if new is not None:
            try:
                await observe(self._volumes, await self._client.update(PERSISTENT_VOLUMES, new))
            except NotFound:
                pass
        return DONE


class ClaimProtectionController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(CLAIMS_NAME)
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._pods = context.informers.informer(PODS)
        index_by_claim(self._pods)
        self._controller: Controller[ObjectKey] = Controller(CLAIMS_NAME, self.sync)
        self._controller.watch(self._claims, own_key)
        self._controller.watch(self._pods, self._claims_being_deleted)

    async def run(self) -> None:
        await self._controller.run()

    def _claims_being_deleted(self, pod: Obj) -> Iterable[ObjectKey]:
        for each in claims.claims_of_pod(pod) if node_name(pod) else ():
            claim = self._claims.get(objects.namespace(pod), each.name)
            if claim is not None and objects.is_deleting(claim):
                yield key_of(claim)

    async def sync(self, key: ObjectKey) -> Result:
        claim = self._claims.get(*key)
        if claim is None:
            return DONE
        if objects.is_deleting(claim):
            # A pod that got its node before the claim began to go is among those that are known by then; one that gets
            # a node later finds the claim going, and is not started.
            await self._pods.wait_for(revision_of(claim))
        in_use = is_claim_in_use(claim, users_of_claim(self._pods, *key))
        new = plan_finalizer(claim, claims.PROTECTION, in_use=in_use)
        if new is not None:
            try:
                await observe(self._claims, await self._client.update(PERSISTENT_VOLUME_CLAIMS, new))
            except NotFound:
                pass
        return DONE
