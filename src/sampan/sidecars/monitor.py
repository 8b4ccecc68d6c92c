"""Tells what a driver's controller says of the health of its volumes (kubernetes-csi/external-health-monitor): an Event
of the claim whose volume is abnormal, each time it is looked at, and one when it is well again.

A driver that lists its volumes is asked for all at once, any other for each; both from time to time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from sampan.api import objects
from sampan.api.clock import Clock
from sampan.api.reading import part, text
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.api.storage import volumes
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.informer import InformerFactory
from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars.config import Driver, SidecarConfig
from sampan.sidecars.here import Here

log = logging.getLogger(__name__)

_PAGE: Final = 500
#: pages of one list: a driver that never ends is not followed
_PAGES: Final = 1000
_LONGEST_MESSAGE: Final = 1024


def can_tell(driver: Driver) -> bool:
    return "VOLUME_CONDITION" in driver.controller and bool({"LIST_VOLUMES", "GET_VOLUME"} & driver.controller)


class HealthMonitor:
    def __init__(
        self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig, clock: Clock
    ) -> None:
        self._driver, self._config = driver, config
        self._recorder = EventRecorder(client, f"csi-pv-monitor-controller-{driver.name}", "", clock)
        self._here = Here(informers, config.node)
        self._claims = informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = informers.informer(PERSISTENT_VOLUMES)
        self._lists = "LIST_VOLUMES" in driver.controller
        #: names of volumes that were abnormal when they were looked at last
        self._abnormal: set[str] = set()

    async def run(self) -> None:
        await tasks.run_all(monitor=self._watch(), events=self._recorder.run())

    async def _watch(self) -> None:
        for informer in (self._claims, self._volumes, self._here.informer):
            if informer is not None:
                await informer.synced()
        while True:
            await self.look()
            await asyncio.sleep(self._config.list_seconds if self._lists else self._config.monitor_seconds)

    async def look(self) -> None:
        bound = {text(part(part(each, "spec"), "csi"), "volumeHandle"): each for each in self._ours()}
        self._abnormal &= {objects.name(each) for each in bound.values()}
        try:
            async for handle, condition in self._listed() if self._lists else self._each(list(bound)):
                if (volume := bound.get(handle)) is not None:
                    self._tell(volume, condition)
        except DriverError as error:
            log.warning("the health of volumes of %s is not known: %s", self._driver.name, error)

    def _ours(self) -> list[Obj]:
        return [
            volume
            for volume in self._volumes.list()
            if volumes.phase(volume) == "Bound"
            and text(part(part(volume, "spec"), "csi"), "driver") == self._driver.name
            and self._here.reaches(volume)
        ]

    async def _listed(self) -> AsyncIterator[tuple[str, Any]]:
        """Raises DriverError."""
        token = ""
        for _ in range(_PAGES):
            answer = await self._ask("ListVolumes", csi.ListVolumesRequest(max_entries=_PAGE, starting_token=token))
            for entry in answer.entries:
                if entry.status.HasField("volume_condition"):
                    yield entry.volume.volume_id, entry.status.volume_condition
            token = answer.next_token
            if not token:
                return

    async def _each(self, handles: list[str]) -> AsyncIterator[tuple[str, Any]]:
        """One that the driver cannot answer for costs no other anything."""
        for handle in handles:
            try:
                answer = await self._ask("ControllerGetVolume", csi.ControllerGetVolumeRequest(volume_id=handle))
            except DriverError as error:
                log.warning("the health of volume %s is not known: %s", handle, error)
                continue
            if answer.status.HasField("volume_condition"):
                yield handle, answer.status.volume_condition

    async def _ask(self, call: str, request: Any) -> Any:
        return await self._driver.client.controller(call, request, self._config.timeout_seconds)

    def _tell(self, volume: Obj, condition: Any) -> None:
        reference = volumes.claim_ref(volume) or {}
        claim = self._claims.get(text(reference, "namespace"), text(reference, "name"))
        if claim is None or not volumes.is_for(volume, claim):
            return
        name = objects.name(volume)
        if condition.abnormal:
            self._abnormal.add(name)
            words = condition.message[:_LONGEST_MESSAGE]
            self._recorder.event(claim, "Warning", "VolumeConditionAbnormal", words)
        elif name in self._abnormal:
            self._abnormal.discard(name)
            self._recorder.event(claim, "Normal", "VolumeConditionNormal", "The Volume returns to the healthy state")
