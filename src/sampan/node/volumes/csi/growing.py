"""Volumes that are to be larger than their claim says: the driver is told on this node, and then the claim.

A volume's capacity is raised by whoever provisions it; what the node adds (a larger file system) is done while the
volume is published, and the claim's status says so. A failure keeps no pod from running.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Literal, Protocol

from sampan.api import objects
from sampan.api.errors import ApiError
from sampan.api.reading import part, parts, text
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS
from sampan.api.storage import claims, volumes
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.csi.errors import DriverError, Infeasible
from sampan.csi.pb import csi_pb2 as csi
from sampan.node.volumes.csi.preparing import Wanted
from sampan.node.volumes.plugin import Context

log = logging.getLogger(__name__)

_GIVEN_UP: Final = "NodeResizeInfeasible"
_RESIZING: Final = frozenset({"Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError"})


def is_to_grow(claim: Obj, volume: Obj) -> bool:
    """Pure."""
    has = part(part(claim, "status"), "capacity").get("storage")
    given_up = part(part(claim, "status"), "allocatedResourceStatuses").get("storage") == _GIVEN_UP
    return has is not None and not given_up and volumes.capacity_bytes(volume) > claims.bytes_of(has)


def plan_grown(claim: Obj, volume: Obj) -> Obj:
    """A merge patch of the claim's status. Pure."""
    status = part(claim, "status")
    kept = [each for each in parts(status, "conditions") if text(each, "type") not in _RESIZING]
    patch: Obj = {"capacity": {"storage": part(part(volume, "spec"), "capacity").get("storage")}}
    if status.get("conditions"):
        patch["conditions"] = kept or None
    if part(status, "allocatedResourceStatuses").get("storage"):
        patch["allocatedResourceStatuses"] = {"storage": None}
    return {"status": patch}


class Recorder(Protocol):
    def event(self, about: Obj, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class Growing:
    def __init__(self, client: Client, recorder: Recorder, node_name: str) -> None:
        self._client = client
        self._recorder = recorder
        self._node = node_name

    def looks(self, wanted: Wanted, context: Context) -> bool:
        """Whether the volume may grow while the pod runs, so that it is looked at from time to time."""
        return wanted.persistent and wanted.driver.can("EXPAND_VOLUME") and context.claim is not None

    async def grow(self, wanted: Wanted, context: Context, path: Path, staged: Path | None) -> None:
        """Nothing to do when the claim says what the volume has. Never raises."""
        claim, volume = context.claim, context.persistent_volume
        if claim is None or volume is None or not is_to_grow(claim, volume):
            return
        try:
            if wanted.driver.can("EXPAND_VOLUME"):
                await self._expand(wanted, volume, path, staged)
            await self._write(claim, plan_grown(claim, volume))
        except DriverError as error:
            await self._failed(wanted, context, claim, error)
            return
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("claim of volume %s: %s", wanted.shown, error)  # the next look does it again
            return
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{wanted.shown}" {self._node}'
        for about in (context.pod, claim):
            self._recorder.event(about, "Normal", "FileSystemResizeSuccessful", text)

    async def _expand(self, wanted: Wanted, volume: Obj, path: Path, staged: Path | None) -> None:
        request = csi.NodeExpandVolumeRequest(
            volume_id=wanted.handle,
            volume_path=wanted.driver.seen(path),
            capacity_range=csi.CapacityRange(required_bytes=volumes.capacity_bytes(volume)),
            staging_target_path="" if staged is None else wanted.driver.seen(staged),
            volume_capability=wanted.capability,
            secrets=wanted.expand_secrets,
        )
        await wanted.driver.client.node("NodeExpandVolume", request)

    async def _failed(self, wanted: Wanted, context: Context, claim: Obj, error: DriverError) -> None:
        text = (
            f'MountVolume.NodeExpandVolume failed for volume "{wanted.shown}" : '
            f"Expander.NodeExpand failed to expand the volume : {error}"
        )
        for about in (context.pod, claim):
            self._recorder.event(about, "Warning", "FileSystemResizeFailed", text)
        if isinstance(error, Infeasible):
            try:
                await self._write(claim, {"status": {"allocatedResourceStatuses": {"storage": _GIVEN_UP}}})
            except (ApiError, OSError, TimeoutError) as failed:
                log.warning("claim of volume %s: %s", wanted.shown, failed)

    async def _write(self, claim: Obj, patch: Obj) -> None:
        name, namespace = objects.name(claim), objects.namespace(claim)
        await self._client.patch(PERSISTENT_VOLUME_CLAIMS, name, patch, namespace, subresource="status")
