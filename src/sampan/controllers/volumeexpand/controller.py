"""The persistentvolume-expander-controller: volumes of Sampan's own provisioner grow at once; whose are others' wait.

The volume's capacity is raised first and the claim's after it, so that a crash in between is done again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.reading import part
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context

NAME: Final = "expand-controller"
_COMPONENT: Final = "volume_expand"


def wants_more(claim: Obj) -> bool:
    """Pure."""
    has = part(part(claim, "status"), "capacity").get("storage")
    return claims.phase(claim) == "Bound" and has is not None and claims.requested_bytes(claim) > claims.bytes_of(has)


class VolumeExpandController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, _COMPONENT)
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informers.informer(PERSISTENT_VOLUMES)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._volumes])
        self._controller.watch(self._claims, self._keys)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys(self, claim: Obj) -> Iterable[ObjectKey]:
        return (key_of(claim),) if wants_more(claim) else ()

    async def sync(self, key: ObjectKey) -> Result:
        claim = self._claims.get(*key)
        if claim is None or not wants_more(claim):
            return DONE
        volume = self._volumes.get("", claims.volume_name(claim))
        if volume is None or not volumes.is_for(volume, claim):
            return DONE
        if claims.annotation(volume, volumes.PROVISIONED_BY) != volumes.LOCAL_PATH:
            text = "waiting for an external controller to expand this PVC"
            self._recorder.event(claim, "Normal", "ExternalExpanding", text)
            return DONE
        try:
            await self._grow(claim, volume)
        except NotFound:
            return DONE
        self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        return DONE

    async def _grow(self, claim: Obj, volume: Obj) -> None:
        size = claims.requested(claim)
        if volumes.capacity_bytes(volume) < claims.bytes_of(size):
            grown: Obj = objects.copy_of(volume)
            grown["spec"]["capacity"]["storage"] = size
            await observe(self._volumes, await self._client.update(PERSISTENT_VOLUMES, grown))
        # With the resourceVersion seen: a claim that has changed meanwhile is looked at anew.
        body = {
            "metadata": {"resourceVersion": objects.resource_version(claim)},
            "status": {"capacity": {"storage": size}},
        }
        written = await self._client.patch(
            PERSISTENT_VOLUME_CLAIMS, objects.name(claim), body, objects.namespace(claim), subresource="status"
        )
        await observe(self._claims, written)
