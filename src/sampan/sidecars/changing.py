"""What the two controllers of the resizer have in common (``resizer``, ``modifier``): a volume is changed as its claim
asks for it, and the claim says how far that is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sampan.api import objects
from sampan.api.clock import Clock
from sampan.api.errors import NotFound
from sampan.api.reading import part, text
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.events import EventRecorder
from sampan.client.informer import InformerFactory
from sampan.client.keys import ObjectKey
from sampan.sidecars.config import Driver, SidecarConfig
from sampan.sidecars.here import Here


class Changing(ABC):
    """``sync`` is asked for claims, once their volumes and this node are known."""

    #: of the controller
    name: str

    def __init__(
        self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig, clock: Clock
    ) -> None:
        self._client, self._driver, self._config, self._clock = client, driver, config, clock
        self._recorder = EventRecorder(client, f"external-resizer {driver.name}", "", clock)
        self._here = Here(informers, config.node)
        self._claims = informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = informers.informer(PERSISTENT_VOLUMES)
        here = [self._here.informer] if self._here.informer is not None else []
        self._controller: Controller[ObjectKey] = Controller(
            self.name, self.sync, workers=config.workers, informers=[self._claims, self._volumes, *here]
        )

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        claim = self._claims.get(*key)
        volume = None if claim is None else self._volumes.get("", claims.volume_name(claim))
        if claim is None or volume is None or not volumes.is_for(volume, claim):
            self._forget(key)
            return DONE
        ours = text(part(part(volume, "spec"), "csi"), "driver") == self._driver.name
        if not ours or not self._here.reaches(volume):
            return DONE
        try:
            return await self._change(key, claim, volume)
        except NotFound:
            return DONE

    @abstractmethod
    async def _change(self, key: ObjectKey, claim: Obj, volume: Obj) -> Result:
        """Does what the claim asks for, if it asks for something. Raises ApiError: it is tried again."""

    @abstractmethod
    def _forget(self, key: ObjectKey) -> None:
        """The claim has no volume any more."""

    async def _mark(self, claim: Obj, body: Obj) -> Obj:
        """``body``: a merge patch of the claim's status. Returns the claim as it is then."""
        name, namespace = objects.name(claim), objects.namespace(claim)
        written = await self._client.patch(PERSISTENT_VOLUME_CLAIMS, name, body, namespace, subresource="status")
        await observe(self._claims, written)
        return written

    async def _write(self, volume: Obj, spec: Obj) -> None:
        """``spec``: a merge patch of the volume's."""
        written = await self._client.patch(PERSISTENT_VOLUMES, objects.name(volume), {"spec": spec})
        await observe(self._volumes, written)
