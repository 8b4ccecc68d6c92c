"""The node service: volumes of this node are staged (attached, formatted, mounted), published, measured and grown.

Every call looks at what is there first, so that it may come again after any crash: a file is attached once, a target
mounted once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path
from typing import Any, Final

from sampan.api.faults import fault
from sampan.csi.driver import NODE_KEY, arguments, attributes, copying
from sampan.csi.driver.arguments import need
from sampan.csi.driver.controller import Options
from sampan.csi.driver.devices import Devices, Mount, attached, detached
from sampan.csi.driver.files import RAW, Files, Found
from sampan.csi.driver.jobs import Jobs
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.server import Refusal

log = logging.getLogger(__name__)

_RPCS: Final = (
    *("STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME", "SINGLE_NODE_MULTI_WRITER", "VOLUME_CONDITION"),
)
#: mounts that may lie on each other at one place
_STACKED: Final = 32


class NodeService:
    """Calls about one volume come one after the other (``jobs``, as the controller service's)."""

    def __init__(self, files: Files, devices: Devices, options: Options, jobs: Jobs) -> None:
        self._files, self._devices, self._options, self._jobs = files, devices, options, jobs

    async def thaw_all(self) -> list[Path]:
        """What a crash during a copy left frozen; before anything else is done."""
        frozen = []
        mounts = self._devices.mounts()
        for found in await asyncio.to_thread(lambda: list(self._files.all("volumes"))):
            device = await self._devices.loop_of(found.disk)
            for each in mounts if device is not None else ():
                if device is not None and each.device == self._devices.number(device):
                    try:
                        if await asyncio.to_thread(copying.thaw, each.target):
                            frozen.append(each.target)
                    except OSError as error:
                        log.warning("%s: %s", each.target, fault(error, "open"))
                    break
        return frozen

    async def NodeGetInfo(self, request: Any) -> Any:  # noqa: N802
        return csi.NodeGetInfoResponse(
            node_id=self._options.node,
            max_volumes_per_node=self._options.most_volumes,
            accessible_topology=csi.Topology(segments={NODE_KEY: self._options.node}),
        )

    async def NodeGetCapabilities(self, request: Any) -> Any:  # noqa: N802
        capability = csi.NodeServiceCapability
        listed = [capability(rpc=capability.RPC(type=name)) for name in _RPCS]
        return csi.NodeGetCapabilitiesResponse(capabilities=listed)

    # Staging

    async def NodeStageVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "staging_target_path", "volume_capability")
        arguments.usable([request.volume_capability])
        target = Path(request.staging_target_path)
        await self._in_turn(request.volume_id, lambda: self._stage(request, target))
        return csi.NodeStageVolumeResponse()

    async def _stage(self, request: Any, target: Path) -> None:
        found = await self._need(request.volume_id)
        async with attached(self._devices, found.disk) as device:
            await self._stage_device(request, target, found, device)

    async def _stage_device(self, request: Any, target: Path, found: Found, device: str) -> None:
        # Devices keep what somebody before asked of them.
        await self._devices.tune(device, attributes.tuning(found.record.attributes))
        wanted = arguments.filesystem_of(request.volume_capability)
        if not wanted:
            if not found.record.filesystem:  # what a pod writes from now on is never formatted away
                await asyncio.to_thread(self._files.note_filesystem, found, RAW)
            return
        number = self._devices.number(device)
        for mount in self._at(target):
            if mount.device == number:
                return
            raise Refusal("ALREADY_EXISTS", f"something else is mounted at {target}")
        filesystem = found.record.filesystem
        if not filesystem:
            # What a crash left of an earlier attempt was never mounted: it is made anew.
            await self._devices.format(device, wanted)
            await asyncio.to_thread(self._files.note_filesystem, found, wanted)
            filesystem = wanted
        elif filesystem == RAW:
            filesystem = wanted
        # It may have grown since it was used last, or have been made larger than what it was copied from.
        await self._devices.resize(device)
        if all(each.device != number for each in self._devices.mounts()):
            await self._devices.grow_unmounted(device, filesystem)
        await asyncio.to_thread(_make_directory, target)
        await self._devices.mount(device, target, filesystem, list(request.volume_capability.mount.mount_flags))
        if found.record.filesystem == RAW:
            await asyncio.to_thread(self._files.note_filesystem, found, filesystem)
        if filesystem == "xfs":
            await self._devices.grow_filesystem(device, filesystem, target)

    async def NodeUnstageVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "staging_target_path")
        target = Path(request.staging_target_path)
        await self._in_turn(request.volume_id, lambda: self._unstage(request.volume_id, target))
        return csi.NodeUnstageVolumeResponse()

    async def _unstage(self, handle: str, target: Path) -> None:
        await self._unmount(target)
        found = await self._find(handle)
        device = None if found is None else await self._devices.loop_of(found.disk)
        if device is not None and not self._uses(device):
            assert found is not None, "it has a device"
            await self._devices.tune(device, attributes.Tuning())
            await detached(self._devices, device, found.disk)

    # Publishing

    async def NodePublishVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "target_path", "volume_capability")
        arguments.usable([request.volume_capability])
        if not request.staging_target_path:
            raise Refusal("FAILED_PRECONDITION", "staging_target_path is required: the volume is staged first")
        await self._in_turn(request.volume_id, lambda: self._publish(request, Path(request.target_path)))
        return csi.NodePublishVolumeResponse()

    async def _publish(self, request: Any, target: Path) -> None:
        found = await self._need(request.volume_id)
        device = await self._devices.loop_of(found.disk)
        staging = Path(request.staging_target_path)
        is_block = not arguments.filesystem_of(request.volume_capability)
        if device is None or not (is_block or any(self._at(staging))):
            raise Refusal("FAILED_PRECONDITION", f"volume {request.volume_id} is not staged")
        mode = request.volume_capability.access_mode.mode
        read_only = request.readonly or mode == csi.VolumeCapability.AccessMode.SINGLE_NODE_READER_ONLY
        for mount in self._at(target):
            same = mount.root == f"/{Path(device).name}" if is_block else mount.device == self._devices.number(device)
            if not same or (mount.read_only is not read_only and not is_block):
                raise Refusal("ALREADY_EXISTS", f"something else is mounted at {target}")
            return
        if is_block:
            await asyncio.to_thread(_make_file, target)
            await self._devices.bind(Path(device), target, read_only=False)
        else:
            await asyncio.to_thread(_make_directory, target)
            await self._devices.bind(staging, target, read_only=read_only)

    async def NodeUnpublishVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "target_path")
        target = Path(request.target_path)
        await self._in_turn(request.volume_id, lambda: self._unpublish(target))
        return csi.NodeUnpublishVolumeResponse()

    async def _unpublish(self, target: Path) -> None:
        await self._unmount(target)
        await asyncio.to_thread(_remove, target)

    # Looking and growing

    async def NodeGetVolumeStats(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "volume_path")
        found = await self._need(request.volume_id)
        path = Path(request.volume_path)
        if not any(self._at(path)):
            raise Refusal("NOT_FOUND", f"volume {request.volume_id} is not at {path}")
        usage = csi.VolumeUsage
        if await asyncio.to_thread(_is_device, path):
            size = usage(unit=usage.BYTES, total=found.size_bytes)
            return csi.NodeGetVolumeStatsResponse(usage=[size], volume_condition=_condition(""))
        room = await asyncio.to_thread(os.statvfs, path)
        block = room.f_frsize
        bytes_ = usage(
            unit=usage.BYTES,
            total=room.f_blocks * block,
            available=room.f_bavail * block,
            used=(room.f_blocks - room.f_bfree) * block,
        )
        inodes = usage(unit=usage.INODES, total=room.f_files, available=room.f_favail, used=room.f_files - room.f_ffree)
        device = await self._devices.loop_of(found.disk)
        words = "" if device is None else await asyncio.to_thread(self._devices.ailment, device)
        return csi.NodeGetVolumeStatsResponse(usage=[bytes_, inodes], volume_condition=_condition(words))

    async def NodeExpandVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "volume_path")
        found = await self._need(request.volume_id)
        if request.capacity_range.required_bytes > found.size_bytes:
            raise Refusal("OUT_OF_RANGE", f"the volume has {found.size_bytes} bytes: the controller grows it first")
        path = Path(request.volume_path)
        await self._in_turn(request.volume_id, lambda: self._expand(found, path))
        return csi.NodeExpandVolumeResponse(capacity_bytes=found.size_bytes)

    async def _expand(self, found: Found, path: Path) -> None:
        device = await self._devices.loop_of(found.disk)
        if device is None or not await asyncio.to_thread(path.exists):
            raise Refusal("NOT_FOUND", f"volume {found.record.id} is not at {path}")
        await self._devices.resize(device)
        number = self._devices.number(device)
        mounted = [each for each in self._devices.mounts() if each.device == number]
        if mounted:
            await self._devices.grow_filesystem(device, found.record.filesystem, mounted[0].target)

    # What they share

    async def _in_turn(self, handle: str, work: Any) -> None:
        id_ = handle.rpartition("@")[0] or handle
        await self._jobs.join(("volumes", id_), None, work)

    async def _find(self, handle: str) -> Found | None:
        id_, _, node = handle.rpartition("@")
        if node != self._options.node:
            return None
        return await asyncio.to_thread(self._files.find, "volumes", id_)

    async def _need(self, handle: str) -> Found:
        found = await self._find(handle)
        if found is None:
            raise Refusal("NOT_FOUND", f"volume {handle} does not exist on node {self._options.node}")
        return found

    def _at(self, target: Path) -> list[Mount]:
        """What is mounted there, the uppermost first."""
        return [each for each in reversed(self._devices.mounts()) if each.target == target]

    def _uses(self, device: str) -> bool:
        number, root = self._devices.number(device), f"/{Path(device).name}"
        return any(each.device == number or each.root == root for each in self._devices.mounts())

    async def _unmount(self, target: Path) -> None:
        for _ in range(_STACKED):
            if not self._at(target):
                return
            await self._devices.unmount(target)


def _condition(ailment: str) -> Any:
    return csi.VolumeCondition(abnormal=bool(ailment), message=ailment or "nothing is known against it")


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal("INTERNAL", fault(error, "mkdir")) from None


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.touch(mode=0o640)
    except OSError as error:
        raise Refusal("INTERNAL", fault(error, "open")) from None


def _remove(path: Path) -> None:
    """A mount point that is none any more: an empty directory or a file. Never what lies in it."""
    try:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Refusal("INTERNAL", fault(error, "remove")) from None


def _is_device(path: Path) -> bool:
    return stat.S_ISBLK(path.stat().st_mode)
