"""Lets volumes grow as their claims ask for it (kubernetes-csi/external-resizer).

The controller's part is here; what the file system of a mounted volume needs is left to the node's agent, and the
claim's status says so (KEP-1790). What a driver cannot do is marked infeasible, so that a user may ask for less.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sampan.api import objects, quantity
from sampan.api.clock import Clock, format_time
from sampan.api.errors import ApiError, Forbidden, ServiceUnavailable
from sampan.api.reading import part, parts, text, texts
from sampan.api.resources import PODS
from sampan.api.storage import claims, volumes
from sampan.api.storage.secretrefs import SecretRef
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.controller import DONE, Result
from sampan.client.informer import InformerFactory
from sampan.client.keys import ObjectKey, key_of
from sampan.csi.errors import DriverError, Infeasible
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars import secrets
from sampan.sidecars.changing import Changing
from sampan.sidecars.claims import Refused, capability
from sampan.sidecars.config import Driver, SidecarConfig

_GROWING: Final = "ControllerResizeInProgress"
_INFEASIBLE: Final = "ControllerResizeInfeasible"
_NODE: Final = "NodeResizePending"
#: between two looks whether the pods of a volume that grows only without any have ended
_IN_USE_SECONDS: Final = 30.0
#: states that are the node's to end
_OF_NODE: Final = (_NODE, "NodeResizeInProgress", "NodeResizeInfeasible")


def state(claim: Obj) -> str:
    return text(part(part(claim, "status"), "allocatedResourceStatuses"), "storage")


def wants_more(claim: Obj, volume: Obj) -> bool:
    """Whether the driver has something to do: the claim asks for more than it has, and than the volume has become."""
    if claims.phase(claim) != "Bound" or objects.is_deleting(claim):
        return False
    asked = claims.requested_bytes(claim)
    has = claims.bytes_of(part(part(claim, "status"), "capacity").get("storage"))
    if asked <= has:
        return False
    if volumes.capacity_bytes(volume) >= asked:
        return not state(claim)  # it was made larger, or the claim's status was lost: the node is told
    refused = claims.bytes_of(part(part(claim, "status"), "allocatedResources").get("storage"))
    return not (state(claim) == _INFEASIBLE and refused == asked)


def new_status(claim: Obj, storage: str, at: str, *, capacity: str = "", kind: str = "", now: str = "") -> Obj:
    """A merge patch of the claim's status. ``at``: the state of the allocation, "": it is over. ``kind``: of the only
    condition of growth that is left, with the time ``now``."""
    of_growth = ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")
    conditions = [each for each in parts(part(claim, "status"), "conditions") if text(each, "type") not in of_growth]
    if kind:
        words = {
            "FileSystemResizePending": "Waiting for user to (re-)start a pod to finish file system resize of volume "
            "on node."
        }
        condition = {"type": kind, "status": "True", "lastTransitionTime": now}
        conditions.append(condition | ({"message": words[kind]} if kind in words else {}))
    status: Obj = {
        "conditions": conditions or None,
        "allocatedResources": {"storage": storage if at else None},
        "allocatedResourceStatuses": {"storage": at or None},
    }
    if capacity:
        status["capacity"] = {"storage": capacity}
    return {"metadata": {"resourceVersion": objects.resource_version(claim)}, "status": status}


class Resizer(Changing):
    name = "csi-resizer"

    def __init__(
        self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig, clock: Clock
    ) -> None:
        super().__init__(client, informers, driver, config, clock)
        #: claims, by uid, whose driver said that it grows nothing that is in use
        self._in_use: dict[ObjectKey, str] = {}
        self._controller.watch(self._claims, self._keys)

    def _keys(self, claim: Obj) -> Iterable[ObjectKey]:
        return (key_of(claim),) if claims.volume_name(claim) and claims.phase(claim) == "Bound" else ()

    def _forget(self, key: ObjectKey) -> None:
        self._in_use.pop(key, None)

    async def _change(self, key: ObjectKey, claim: Obj, volume: Obj) -> Result:
        if not wants_more(claim, volume):
            return DONE
        if self._in_use.get(key) == objects.uid(claim) and await self._is_used(claim):
            told = (
                f"Unable to expand {'/'.join(key)} because CSI driver {self._driver.name} only supports offline "
                "expansion and volume is currently in-use"
            )
            self._recorder.event(claim, "Warning", "VolumeResizeFailed", told)
            return Result(_IN_USE_SECONDS)
        self._forget(key)
        await self._grow(claim, volume)
        return DONE

    async def _is_used(self, claim: Obj) -> bool:
        """By a pod that has not ended. Read when there is a reason, which few drivers give; without the right to read
        pods the driver is asked again and again."""
        try:
            found = await self._client.list(PODS, objects.namespace(claim))
        except Forbidden:
            return False
        return any(
            text(part(pod, "status"), "phase") not in ("Succeeded", "Failed")
            and any(each.name == objects.name(claim) for each in claims.claims_of_pod(pod))
            for pod in parts(found, "items")
        )

    async def _grow(self, claim: Obj, volume: Obj) -> None:
        size, now = claims.requested(claim), format_time(self._clock.now())
        on_node = True
        if volumes.capacity_bytes(volume) < claims.bytes_of(size):
            if state(claim) != _GROWING:
                claim = await self._mark(claim, new_status(claim, size, _GROWING, kind="Resizing", now=now))
                told = f"External resizer is resizing volume {objects.name(volume)}"
                self._recorder.event(claim, "Normal", "Resizing", told)
            size, on_node = await self._ask(claim, volume)
            await self._write(volume, {"capacity": {"storage": size}})
        if on_node:
            kind = "FileSystemResizePending"
            asked = claims.requested(claim)
            await self._mark(claim, new_status(claim, asked, _NODE, kind=kind, now=now))
            told = "Require file system resize of volume on node"
            self._recorder.event(claim, "Normal", "FileSystemResizeRequired", told)
            return
        await self._mark(claim, new_status(claim, size, "", capacity=size))
        self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")

    async def _ask(self, claim: Obj, volume: Obj) -> tuple[str, bool]:
        """The size that the volume has now, and whether the node has a part in it. Raises ApiError."""
        source = part(part(volume, "spec"), "csi")
        reference = part(source, "controllerExpandSecretRef")
        secret = SecretRef(text(reference, "namespace"), text(reference, "name")) if reference else None
        try:
            request = csi.ControllerExpandVolumeRequest(
                volume_id=text(source, "volumeHandle"),
                capacity_range=csi.CapacityRange(required_bytes=claims.requested_bytes(claim)),
                volume_capability=self._capability(volume),
                secrets=await secrets.read(self._client, secret),
            )
            if "EXPAND_VOLUME" not in self._driver.controller:
                return claims.requested(claim), True  # only nodes of the driver grow volumes
            answer: Any = await self._driver.client.controller(
                "ControllerExpandVolume", request, self._config.timeout_seconds
            )
        except (DriverError, Refused, ValueError) as error:
            words = f'resize volume "{objects.name(volume)}" by resizer "{self._driver.name}" failed: {error}'
            self._recorder.event(claim, "Warning", "VolumeResizeFailed", words)
            if isinstance(error, DriverError) and error.code == "FailedPrecondition":
                self._in_use[key_of(claim)] = objects.uid(claim)
            if isinstance(error, Infeasible):
                now = format_time(self._clock.now())
                asked = claims.requested(claim)
                await self._mark(claim, new_status(claim, asked, _INFEASIBLE, kind="ControllerResizeError", now=now))
            raise ServiceUnavailable(words) from None
        except ApiError as error:
            self._recorder.event(claim, "Warning", "VolumeResizeFailed", error.message)
            raise
        has = max(answer.capacity_bytes, claims.requested_bytes(claim))
        return quantity.format_quantity(has, "BinarySI"), answer.node_expansion_required

    def _capability(self, volume: Obj) -> Any:
        spec = part(volume, "spec")
        mode = next(iter(texts(spec, "accessModes")), "ReadWriteOnce")
        filesystem = text(part(spec, "csi"), "fsType")
        is_block = claims.volume_mode(volume) == "Block"
        return capability(mode, is_block, filesystem, list(texts(spec, "mountOptions")), self._driver)
