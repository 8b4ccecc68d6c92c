"""The ephemeral-volume-controller: an ephemeral volume of a pod has a claim that goes with the pod."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.errors import AlreadyExists
from sampan.api.pods.status import is_terminal
from sampan.api.reading import part, parts, text
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from sampan.api.storage import claims
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context
from sampan.controllers.workload.claims import controller_reference

NAME: Final = "ephemeral-volume-controller"
_COMPONENT: Final = "ephemeral_volume"


def render_claim(pod: Obj, volume: Obj, name: str) -> Obj:
    """Pure."""
    template = part(part(volume, "ephemeral"), "volumeClaimTemplate")
    given = part(template, "metadata")
    meta: Obj = {
        "name": name,
        "namespace": objects.namespace(pod),
        "ownerReferences": [dict(controller_reference(pod, PODS))],
    }
    meta |= {key: dict(given[key]) for key in ("labels", "annotations") if isinstance(given.get(key), dict)}
    spec = objects.deep_copy(part(template, "spec"))
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": meta, "spec": spec}


class EphemeralVolumeController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, _COMPONENT)
        self._pods = context.informers.informer(PODS)
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._controller.watch(self._pods, self._keys)
        self._controller.watch(self._claims, self._pod_of_claim)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys(self, pod: Obj) -> Iterable[ObjectKey]:
        if objects.is_deleting(pod) or is_terminal(pod):
            return ()
        return (key_of(pod),) if any(each.ephemeral for each in claims.claims_of_pod(pod)) else ()

    def _pod_of_claim(self, claim: Obj) -> Iterable[ObjectKey]:
        """A claim that somebody deleted is made again."""
        owner = objects.controller_of(claim)
        if owner is not None and owner["kind"] == "Pod" and owner["apiVersion"] == "v1":
            yield ObjectKey(objects.namespace(claim), owner["name"])

    async def sync(self, key: ObjectKey) -> Result:
        pod = self._pods.get(*key)
        if pod is None or not self._keys(pod):
            return DONE
        for each in claims.claims_of_pod(pod):
            if not each.ephemeral:
                continue
            claim = self._claims.get(key.namespace, each.name)
            if claim is None:
                claim = await self._create(pod, each)
            if not claims.is_claim_of_pod(claim, pod):
                problem = f"ephemeral volume {each.volume}: {claims.not_for_pod(claim, pod)}"
                self._recorder.event(pod, "Warning", "FailedBinding", problem)
        return DONE

    async def _create(self, pod: Obj, wanted: claims.PodClaim) -> Obj:
        volume = next(v for v in parts(part(pod, "spec"), "volumes") if text(v, "name") == wanted.volume)
        try:
            claim = await self._client.create(PERSISTENT_VOLUME_CLAIMS, render_claim(pod, volume, wanted.name))
        except AlreadyExists:
            return await self._client.get(PERSISTENT_VOLUME_CLAIMS, wanted.name, objects.namespace(pod))
        await observe(self._claims, claim)
        return claim
