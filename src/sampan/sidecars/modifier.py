"""Changes volumes to the VolumeAttributesClass that their claims ask for (kubernetes-csi/external-resizer, its second
controller): asks the driver, and says on the claim how far it is. ``modification`` decides.

A class that is refused as it is (InvalidArgument) is tried again after some minutes, or at once when the claim names
another. The volume is changed before the claim says so: a crash between the two is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.clock import Clock, format_time
from sampan.api.errors import ServiceUnavailable
from sampan.api.reading import part, text
from sampan.api.resources import VOLUME_ATTRIBUTES_CLASSES
from sampan.api.storage import claims
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.controller import DONE, Result
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.keys import ObjectKey, key_of
from sampan.csi.errors import DriverError, Uncertain, driver_error
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars import modification
from sampan.sidecars.changing import Changing
from sampan.sidecars.config import Driver, SidecarConfig

#: after a refusal that the same class will get again
_INFEASIBLE_SECONDS: Final = 300.0
_BY_CLASS: Final = "claim by the class of attributes that it asks for"


class Modifier(Changing):
    name = "csi-modifier"

    def __init__(
        self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig, clock: Clock
    ) -> None:
        super().__init__(client, informers, driver, config, clock)
        self._classes = informers.informer(VOLUME_ATTRIBUTES_CLASSES)
        self._claims.add_index(_BY_CLASS, _names)
        #: claims whose last question ended with an answer; every other one that is in progress may have been changed
        self._answered: set[ObjectKey] = set()
        #: when, on the loop's clock, what was refused for good is tried again
        self._refused: dict[ObjectKey, float] = {}
        # What is written of a claim here is no news of it: it would be tried again at once, whatever the pause.
        self._claims.add_handler(self._claim_changed)
        self._controller.watch(self._classes, self._keys_of_class)

    def _claim_changed(self, kind: ChangeType, claim: Obj, previous: Obj | None) -> None:
        key = key_of(claim)
        if kind == "DELETED":
            self._forget(key)
        elif previous is None or previous is claim or _asks(claim) != _asks(previous):
            self._controller.enqueue(key)

    def _keys_of_class(self, found: Obj) -> Iterable[ObjectKey]:
        if text(found, "driverName") == self._driver.name:
            for claim in self._claims.by_index(_BY_CLASS, objects.name(found)):
                yield key_of(claim)

    def _forget(self, key: ObjectKey) -> None:
        self._answered.discard(key)
        self._refused.pop(key, None)

    async def _change(self, key: ObjectKey, claim: Obj, volume: Obj) -> Result:
        step = modification.plan(claim, unsure=key not in self._answered)
        if step.kind == "nothing":
            self._forget(key)
            return DONE
        if (pause := self._pause(key, claim, step.target)) > 0:
            return Result(pause)
        if step.kind != "cancel":
            return await self._modify(key, claim, volume, step)
        self._recorder.event(claim, "Normal", "VolumeModifyCancelled", "Cancelled modify.")
        await self._mark(claim, modification.cancelled(claim))
        return DONE

    def _pause(self, key: ObjectKey, claim: Obj, target: str) -> float:
        """How long a class that was refused is left alone; one that was not refused is tried at once."""
        if modification.state(claim) != modification.INFEASIBLE or modification.target(claim) != target:
            self._refused.pop(key, None)
            return 0.0
        return self._refused.get(key, 0.0) - asyncio.get_running_loop().time()

    async def _modify(self, key: ObjectKey, claim: Obj, volume: Obj, step: modification.Step) -> Result:
        name = step.target
        found = self._classes.get("", name)
        if found is None:
            # Its coming is news of it: there is nothing to try before.
            self._recorder.event(claim, "Warning", "VolumeModifyFailed", f'VAC "{name}" does not exist.')
            if step.kind == "start":
                await self._mark(claim, modification.pending(claim))
            return DONE
        now = format_time(self._clock.now())
        tried = modification.state(claim) == modification.IN_PROGRESS and modification.target(claim) == name
        if not tried:
            claim = await self._mark(claim, modification.begun(claim, name, now))
            told = f"external resizer is modifying volume {objects.name(claim)} with vac {name}"
            self._recorder.event(claim, "Normal", "VolumeModify", told)
        try:
            await self._ask(key, claim, volume, found)
        except DriverError as error:
            return await self._failed(key, claim, name, error)
        await self._write(volume, {"volumeAttributesClassName": name})
        await self._mark(claim, modification.done(claim, name))
        self._forget(key)
        told = f"external resizer modified volume {objects.name(claim)} with vac {name} successfully"
        self._recorder.event(claim, "Normal", "VolumeModifySuccessful", told)
        # It may have been the class of a while ago, which a question without an answer had to be asked for again.
        latest = self._claims.get(*key)
        more = latest is not None and modification.plan(latest, unsure=False).kind != "nothing"
        return Result(0.0) if more else DONE

    async def _ask(self, key: ObjectKey, claim: Obj, volume: Obj, found: Obj) -> None:
        """Raises DriverError."""
        driver = text(found, "driverName")
        if driver != self._driver.name:
            words = f"VAC {objects.name(found)} is for driver {driver}, the volume is of {self._driver.name}"
            raise driver_error("InvalidArgument", words)
        extra = self._config.extra_modify_metadata
        request = csi.ControllerModifyVolumeRequest(
            volume_id=text(part(part(volume, "spec"), "csi"), "volumeHandle"),
            mutable_parameters=modification.parameters(found, claim, volume, extra=extra),
        )
        self._answered.discard(key)
        await self._driver.client.controller("ControllerModifyVolume", request, self._config.timeout_seconds)

    async def _failed(self, key: ObjectKey, claim: Obj, name: str, error: DriverError) -> Result:
        infeasible = error.code == "InvalidArgument"
        words = f"{error}"
        if isinstance(error, Uncertain):
            words += f". Still modifying to VAC {name}"
        else:
            self._answered.add(key)
        now = format_time(self._clock.now())
        body = modification.failed(claim, name, f"{error}", now, infeasible=infeasible)
        if infeasible:
            self._refused[key] = asyncio.get_running_loop().time() + _INFEASIBLE_SECONDS
        if modification.changes(claim, body):
            await self._mark(claim, body)
        self._recorder.event(claim, "Warning", "VolumeModifyFailed", words)
        if infeasible:
            return Result(_INFEASIBLE_SECONDS)
        raise ServiceUnavailable(f"volume {objects.name(claim)}: {words}") from None


def _asks(claim: Obj) -> tuple[str, str, str]:
    return modification.wanted(claim), claims.volume_name(claim), claims.phase(claim)


def _names(claim: Obj) -> Iterable[str]:
    return filter(None, {modification.wanted(claim), modification.target(claim)})
