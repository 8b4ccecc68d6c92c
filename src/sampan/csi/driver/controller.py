"""The controller service: volumes and snapshots are made, listed, grown and deleted. It runs on the node they are on.

Ids carry the node: ``<file>@<node>``. What another node has is refused, never taken for deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

from sampan.api.clock import Clock
from sampan.api.faults import cause
from sampan.csi.driver import NODE_KEY, arguments, attributes, copying
from sampan.csi.driver.arguments import need
from sampan.csi.driver.devices import Devices, detached
from sampan.csi.driver.files import Files, Found, Kind, Record, takes_direct_io
from sampan.csi.driver.jobs import Jobs
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.server import Refusal
from sampan.records import dataclass

_RPCS: Final = (
    *("CREATE_DELETE_VOLUME", "LIST_VOLUMES", "GET_CAPACITY", "CREATE_DELETE_SNAPSHOT", "LIST_SNAPSHOTS"),
    *("CLONE_VOLUME", "EXPAND_VOLUME", "GET_VOLUME", "SINGLE_NODE_MULTI_WRITER", "MODIFY_VOLUME"),
)
#: names that the specification lets a caller give
_LONGEST_NAME: Final = 128 * 4
#: at a time: each has a thread to itself, and other calls need some too
_COPIES: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """``copy_seconds``: what a copy may take; pods that write to a volume wait meanwhile."""

    node: str
    copy_seconds: float = 120.0
    most_volumes: int = 128


class ControllerService:
    """Calls of one id come one after the other (``jobs``)."""

    def __init__(self, files: Files, devices: Devices, options: Options, jobs: Jobs, clock: Clock) -> None:
        self._files, self._devices, self._options, self._jobs = files, devices, options, jobs
        self._clock = clock
        self._copies = asyncio.Semaphore(_COPIES)
        #: bytes of what is being made; whoever looks how many are left does it alone
        self._taken, self._asking = 0, asyncio.Lock()
        self._closed = False

    def close(self) -> None:
        """Copies end before they are whole, and what they had frozen goes on."""
        self._closed = True

    # names of calls are the interface's
    async def ControllerGetCapabilities(self, request: Any) -> Any:  # noqa: N802
        capability = csi.ControllerServiceCapability
        listed = [capability(rpc=capability.RPC(type=name)) for name in _RPCS]
        return csi.ControllerGetCapabilitiesResponse(capabilities=listed)

    # Volumes

    async def CreateVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "name")
        if not request.volume_capabilities:
            raise Refusal("INVALID_ARGUMENT", "volume_capabilities is required")
        if len(request.name) > _LONGEST_NAME:
            raise Refusal("INVALID_ARGUMENT", f"name is longer than {_LONGEST_NAME}")
        arguments.usable(request.volume_capabilities)
        self._reachable(request.accessibility_requirements)
        made_of = request.volume_content_source.WhichOneof("type")
        source = {
            "snapshot": f"snapshots/{request.volume_content_source.snapshot.snapshot_id}",
            "volume": f"volumes/{request.volume_content_source.volume.volume_id}",
        }.get(made_of or "", "")
        id_ = self._files.id_of(request.name)
        wanted = attributes.read(request.mutable_parameters)
        range_ = request.capacity_range
        question = ("create", source, range_.required_bytes, range_.limit_bytes, tuple(sorted(wanted.items())))
        found = await self._jobs.join(
            ("volumes", id_), question, lambda: self._create(id_, request.name, source, range_, wanted)
        )
        return csi.CreateVolumeResponse(volume=self._volume(found))

    async def _create(self, id_: str, name: str, source: str, range_: Any, wanted: dict[str, str]) -> Found:
        present = await self._find("volumes", id_)
        if present is not None:
            limit = range_.limit_bytes
            if present.record.source != source or present.record.name != name:
                raise Refusal("ALREADY_EXISTS", f"volume {name} is there with another source")
            if present.size_bytes < range_.required_bytes or (limit and present.size_bytes > limit):
                raise Refusal("ALREADY_EXISTS", f"volume {name} is there with another size")
            return present
        record = Record(id_, name, source, "", self._now_ns(), wanted)
        if not source:
            size = arguments.size_of(range_)
            async with self._room(size):
                made: Found = await self._thread(self._files.make, "volumes", record, size)
            return made
        kind, _, handle = source.partition("/")
        origin_kind: Kind = "snapshots" if kind == "snapshots" else "volumes"
        origin = await self._origin(origin_kind, handle)
        size = arguments.size_of(range_, origin.size_bytes)
        if range_.required_bytes and range_.required_bytes < origin.size_bytes:
            raise Refusal("OUT_OF_RANGE", f"the source has {origin.size_bytes} bytes, more than was asked for")
        async with self._room(size):
            return await self._copy("volumes", record, size, origin_kind, handle)

    async def DeleteVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id")
        id_ = self._own(request.volume_id)
        if id_:
            await self._jobs.join(("volumes", id_), "delete", lambda: self._delete(id_))
        return csi.DeleteVolumeResponse()

    async def _delete(self, id_: str) -> None:
        found = await self._find("volumes", id_)
        if found is None:
            return
        if (device := await self._devices.loop_of(found.disk)) is not None:
            number = self._devices.number(device)
            name = Path(device).name
            if any(each.device == number or each.root == f"/{name}" for each in self._devices.mounts()):
                raise Refusal("FAILED_PRECONDITION", f"volume {id_} is in use")
            await detached(self._devices, device, found.disk)
        await self._thread(self._files.remove, "volumes", id_)

    async def ValidateVolumeCapabilities(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id")
        if not request.volume_capabilities:
            raise Refusal("INVALID_ARGUMENT", "volume_capabilities is required")
        await self._need("volumes", request.volume_id)
        if words := arguments.complaint(request.volume_capabilities):
            return csi.ValidateVolumeCapabilitiesResponse(message=words)
        confirmed = csi.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
        )
        return csi.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    async def ListVolumes(self, request: Any) -> Any:  # noqa: N802
        found = await self._thread(lambda: list(self._files.all("volumes")))
        shown, token = arguments.page(found, request.starting_token, request.max_entries)
        entry = csi.ListVolumesResponse.Entry
        return csi.ListVolumesResponse(entries=[entry(volume=self._volume(each)) for each in shown], next_token=token)

    async def ControllerGetVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id")
        found = await self._need("volumes", request.volume_id)
        status = csi.ControllerGetVolumeResponse.VolumeStatus()
        return csi.ControllerGetVolumeResponse(volume=self._volume(found), status=status)

    async def GetCapacity(self, request: Any) -> Any:  # noqa: N802
        if arguments.complaint(request.volume_capabilities):
            return csi.GetCapacityResponse()
        wanted = request.accessible_topology.segments.get(NODE_KEY)
        if wanted not in (None, self._options.node):
            return csi.GetCapacityResponse()
        return csi.GetCapacityResponse(available_capacity=await self._thread(self._files.available_bytes))

    async def ControllerExpandVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id", "capacity_range")
        found = await self._need("volumes", request.volume_id)
        size = arguments.size_of(request.capacity_range, found.size_bytes)
        await self._jobs.join(
            ("volumes", found.record.id), ("expand", size), lambda: self._expand(found.record.id, size)
        )
        return csi.ControllerExpandVolumeResponse(capacity_bytes=size, node_expansion_required=True)

    async def _expand(self, id_: str, size: int) -> None:
        found = await self._find("volumes", id_)
        if found is not None and found.size_bytes < size:
            async with self._room(size - found.size_bytes):
                await self._thread(self._files.grow, found, size)

    async def ControllerModifyVolume(self, request: Any) -> Any:  # noqa: N802
        need(request, "volume_id")
        wanted = attributes.read(request.mutable_parameters)
        found = await self._need("volumes", request.volume_id)
        await self._jobs.join(("volumes", found.record.id), None, lambda: self._modify(found.record.id, wanted))
        return csi.ControllerModifyVolumeResponse()

    async def _modify(self, id_: str, wanted: dict[str, str]) -> None:
        """The device first: what it does not take is not recorded, and a crash between the two is asked again."""
        found = await self._find("volumes", id_)
        if found is None:
            raise Refusal("NOT_FOUND", f"volume {id_} does not exist")
        if wanted.get(attributes.DIRECT_IO) == "true" and not await self._thread(takes_direct_io, found.disk):
            raise Refusal("INVALID_ARGUMENT", f"{attributes.DIRECT_IO}: the node's file system has no direct I/O")
        all_ = {**found.record.attributes, **wanted}
        if (device := await self._devices.loop_of(found.disk)) is not None:
            await self._devices.tune(device, attributes.tuning(all_))
        if all_ != found.record.attributes:
            await self._thread(self._files.note_attributes, found, all_)

    # Snapshots

    async def CreateSnapshot(self, request: Any) -> Any:  # noqa: N802
        need(request, "name", "source_volume_id")
        id_ = self._files.id_of(request.name)
        found = await self._jobs.join(
            ("snapshots", id_),
            ("take", request.source_volume_id),
            lambda: self._take(id_, request.name, request.source_volume_id),
        )
        return csi.CreateSnapshotResponse(snapshot=self._snapshot(found))

    async def _take(self, id_: str, name: str, volume_id: str) -> Found:
        present = await self._find("snapshots", id_)
        if present is not None:
            if present.record.source != volume_id or present.record.name != name:
                raise Refusal("ALREADY_EXISTS", f"snapshot {name} is there of another volume")
            return present
        origin = await self._origin("volumes", volume_id)
        record = Record(id_, name, volume_id, "", self._now_ns())
        async with self._room(origin.used_bytes):
            return await self._copy("snapshots", record, origin.size_bytes, "volumes", volume_id)

    async def DeleteSnapshot(self, request: Any) -> Any:  # noqa: N802
        need(request, "snapshot_id")
        id_ = self._own(request.snapshot_id)
        if id_:
            key: Hashable = ("snapshots", id_)
            await self._jobs.join(key, "delete", lambda: self._thread(self._files.remove, "snapshots", id_))
        return csi.DeleteSnapshotResponse()

    async def ListSnapshots(self, request: Any) -> Any:  # noqa: N802
        found = await self._thread(lambda: list(self._files.all("snapshots")))
        wanted = [
            each
            for each in found
            if request.snapshot_id in ("", self._id(each)) and request.source_volume_id in ("", each.record.source)
        ]
        shown, token = arguments.page(wanted, request.starting_token, request.max_entries)
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=self._snapshot(each)) for each in shown]
        return csi.ListSnapshotsResponse(entries=entries, next_token=token)

    # What they share

    async def _copy(self, kind: Kind, record: Record, size: int, origin_kind: Kind, handle: str) -> Found:
        """A moment of the origin: it is held as it is, in use or not, until it is copied. What waits for its turn there
        while it has its own is a copy that is not there yet, which nobody copies: there is no circle."""
        key: Hashable = (origin_kind, self._own(handle))
        return await self._jobs.join(key, None, lambda: self._copy_held(kind, record, size, origin_kind, handle))

    async def _copy_held(self, kind: Kind, record: Record, size: int, origin_kind: Kind, handle: str) -> Found:
        origin = await self._origin(origin_kind, handle)  # it may have grown, or have been formatted meanwhile
        size = max(size, origin.size_bytes)
        record = replace(record, filesystem=origin.record.filesystem)
        device = await self._devices.loop_of(origin.disk)
        targets, raw = [], False
        if device is not None:
            number, name = self._devices.number(device), Path(device).name
            mounts = self._devices.mounts()
            targets = [each.target for each in mounts if each.device == number][:1]
            raw = any(each.root == f"/{name}" and each.device != number for each in mounts)

        def fill(target: Path) -> None:
            with copying.frozen(targets):
                if copying.clone(origin.disk, target):
                    return
                if raw:
                    raise Refusal(
                        "FAILED_PRECONDITION",
                        "a pod uses the volume as a block device, and the file system of the node cannot share blocks: "
                        "end the pod first",
                    )
                copying.copy(origin.disk, target, self._options.copy_seconds, lambda: self._closed)

        try:
            async with self._copies:
                made: Found = await self._thread(self._files.make, kind, record, size, fill)
            return made
        except copying.TooSlow as error:
            raise Refusal("RESOURCE_EXHAUSTED", str(error)) from None
        except copying.Stopped as error:
            raise Refusal("ABORTED", str(error)) from None

    async def _thread(self, function: Callable[..., Any], *arguments_: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments_)
        except OSError as error:
            self._failed(error)

    @staticmethod
    def _failed(error: OSError) -> NoReturn:
        raise Refusal("INTERNAL", f"the driver's directory: {cause(error)}") from None

    async def _find(self, kind: Kind, id_: str) -> Found | None:
        found: Found | None = await self._thread(self._files.find, kind, id_)
        return found

    async def _need(self, kind: Kind, handle: str) -> Found:
        id_ = self._own(handle)
        found = await self._find(kind, id_) if id_ else None
        if found is None:
            raise Refusal("NOT_FOUND", f"{kind.removesuffix('s')} {handle} does not exist")
        return found

    async def _origin(self, kind: Kind, handle: str) -> Found:
        """What is to be copied; on another node it cannot be, and the caller may try there."""
        _, _, node = handle.rpartition("@")
        if node not in ("", self._options.node) and "@" in handle:
            raise Refusal("RESOURCE_EXHAUSTED", f"{kind.removesuffix('s')} {handle} is on node {node}")
        return await self._need(kind, handle)

    def _own(self, handle: str) -> str:
        """The id inside a handle; "": it is none of this driver's. Raises Refusal: it is another node's."""
        id_, at, node = handle.rpartition("@")
        if not at:
            return ""
        if node != self._options.node:
            raise Refusal("FAILED_PRECONDITION", f"{handle} is on node {node}, this is {self._options.node}")
        return id_

    def _reachable(self, requirement: Any) -> None:
        """Raises Refusal when none of the topologies is this node."""
        asked = [*requirement.requisite] or [*requirement.preferred]
        nodes = [each.segments.get(NODE_KEY) for each in asked]
        if asked and self._options.node not in nodes:
            raise Refusal(
                "RESOURCE_EXHAUSTED", f"this is node {self._options.node}, which is not among those asked for"
            )

    @asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[None]:
        """It is kept for whoever asked first, until what it is for is there. Raises Refusal."""
        async with self._asking:
            taken = self._taken  # of one that is done meanwhile it counts twice rather than never
            available = max(await self._thread(self._files.available_bytes) - taken, 0)
            if size > available:
                words = f"{size} bytes are asked for, and {available} are available on node {self._options.node}"
                raise Refusal("RESOURCE_EXHAUSTED", words)
            self._taken += size
        try:
            yield
        finally:
            self._taken -= size

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000) * 1000

    def _id(self, found: Found) -> str:
        return f"{found.record.id}@{self._options.node}"

    def _volume(self, found: Found) -> Any:
        kind, _, source = found.record.source.partition("/")
        content = None
        if kind == "snapshots":
            content = csi.VolumeContentSource(snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=source))
        elif kind == "volumes":
            content = csi.VolumeContentSource(volume=csi.VolumeContentSource.VolumeSource(volume_id=source))
        return csi.Volume(
            volume_id=self._id(found),
            capacity_bytes=found.size_bytes,
            content_source=content,
            accessible_topology=[csi.Topology(segments={NODE_KEY: self._options.node})],
        )

    def _snapshot(self, found: Found) -> Any:
        snapshot = csi.Snapshot(
            snapshot_id=self._id(found),
            source_volume_id=found.record.source,
            size_bytes=found.size_bytes,
            ready_to_use=True,
        )
        snapshot.creation_time.FromNanoseconds(found.record.made_ns)
        return snapshot
