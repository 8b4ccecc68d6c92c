"""A driver in memory that fails as drivers do, and sidecars that work with it over the fake API."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sampan.api.resources import (
    CSI_NODES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTRIBUTES_CLASSES,
)
from sampan.csi.errors import DriverError, driver_error
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars.config import Driver, SidecarConfig

Obj = dict[str, Any]
NAME = "d.example"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
NODE = "volume.kubernetes.io/selected-node"
ZONE = "topology.d.example/zone"
CALLS = (
    *("CREATE_DELETE_VOLUME", "CREATE_DELETE_SNAPSHOT", "EXPAND_VOLUME", "CLONE_VOLUME", "GET_CAPACITY"),
    "LIST_SNAPSHOTS",
)


class FaultyDriver:
    """As the specification wants it: idempotent by name. ``faults`` are taken by the next calls, one each: ``lost``
    does it and answers nothing, ``hung`` does nothing and answers nothing, any other is a code. ``chance`` of a lost
    or hung call besides them."""

    def __init__(self) -> None:
        self.volumes: dict[str, csi.Volume] = {}
        self.snapshots: dict[str, csi.Snapshot] = {}
        self.requests: list[tuple[str, Any]] = []
        self.faults: list[str] = []
        self.chance = 0.0
        self.random = random.Random(1)
        self.topologies: list[dict[str, str]] = []
        self.on_node = True
        #: volume id -> what is said against it, "": it is well
        self.ailments: dict[str, str] = {}
        #: volume id -> what was last asked of it
        self.attributes: dict[str, dict[str, str]] = {}

    def count(self, name: str) -> int:
        return sum(1 for call, _ in self.requests if call == name)

    async def controller(self, name: str, request: Any, timeout_seconds: float | None = None) -> Any:
        self.requests.append((name, request))
        fault = self.faults.pop(0) if self.faults else ""
        if not fault and self.random.random() < self.chance:
            fault = self.random.choice(["lost", "hung", "Internal"])
        if fault in ("hung", "lost"):
            await asyncio.sleep(1)
        if fault == "lost":
            self._do(name, request)
        if fault:
            raise self._error("DeadlineExceeded" if fault in ("hung", "lost") else fault)
        return self._do(name, request)

    @staticmethod
    def _error(code: str) -> DriverError:
        return driver_error(code, "as it happens")

    def _do(self, name: str, request: Any) -> Any:
        return getattr(self, f"_{name}")(request)

    def _CreateVolume(self, request: Any) -> Any:  # noqa: N802
        if request.name not in self.volumes:
            self.volumes[request.name] = csi.Volume(
                volume_id=f"id-{request.name}",
                capacity_bytes=request.capacity_range.required_bytes,
                volume_context={"made": "here"},
                content_source=request.volume_content_source if request.HasField("volume_content_source") else None,
                accessible_topology=[csi.Topology(segments=each) for each in self.topologies],
            )
        self.attributes.setdefault(f"id-{request.name}", dict(request.mutable_parameters))
        return csi.CreateVolumeResponse(volume=self.volumes[request.name])

    def _ControllerModifyVolume(self, request: Any) -> Any:  # noqa: N802
        self.attributes[request.volume_id] = dict(request.mutable_parameters)
        return csi.ControllerModifyVolumeResponse()

    def _DeleteVolume(self, request: Any) -> Any:  # noqa: N802
        self.volumes.pop(request.volume_id.removeprefix("id-"), None)
        return csi.DeleteVolumeResponse()

    def _status(self, volume: csi.Volume) -> dict[str, Any]:
        ailment = self.ailments.get(volume.volume_id)
        return {} if ailment is None else {"abnormal": bool(ailment), "message": ailment}

    def _ListVolumes(self, request: Any) -> Any:  # noqa: N802
        """In pages of one."""
        listed = list(self.volumes.values())
        at = int(request.starting_token or 0)
        entry = csi.ListVolumesResponse.Entry
        entries = [
            entry(volume=each, status=csi.ListVolumesResponse.VolumeStatus(volume_condition=self._status(each)))
            for each in listed[at : at + 1]
        ]
        return csi.ListVolumesResponse(entries=entries, next_token=str(at + 1) if at + 1 < len(listed) else "")

    def _ControllerGetVolume(self, request: Any) -> Any:  # noqa: N802
        volume = self.volumes[request.volume_id.removeprefix("id-")]
        status = csi.ControllerGetVolumeResponse.VolumeStatus(volume_condition=self._status(volume))
        return csi.ControllerGetVolumeResponse(volume=volume, status=status)

    def _ControllerExpandVolume(self, request: Any) -> Any:  # noqa: N802
        volume = self.volumes.get(request.volume_id.removeprefix("id-"))
        size = request.capacity_range.required_bytes
        if volume is not None:
            volume.capacity_bytes = max(volume.capacity_bytes, size)
        return csi.ControllerExpandVolumeResponse(capacity_bytes=size, node_expansion_required=self.on_node)

    def _CreateSnapshot(self, request: Any) -> Any:  # noqa: N802
        if request.name not in self.snapshots:
            taken = csi.Snapshot(
                snapshot_id=f"id-{request.name}",
                source_volume_id=request.source_volume_id,
                size_bytes=1 << 30,
                ready_to_use=True,
            )
            taken.creation_time.FromSeconds(1767225600)
            self.snapshots[request.name] = taken
        return csi.CreateSnapshotResponse(snapshot=self.snapshots[request.name])

    def _DeleteSnapshot(self, request: Any) -> Any:  # noqa: N802
        self.snapshots.pop(request.snapshot_id.removeprefix("id-"), None)
        return csi.DeleteSnapshotResponse()

    def _ListSnapshots(self, request: Any) -> Any:  # noqa: N802
        entry = csi.ListSnapshotsResponse.Entry
        found = [each for each in self.snapshots.values() if request.snapshot_id in ("", each.snapshot_id)]
        return csi.ListSnapshotsResponse(entries=[entry(snapshot=each) for each in found])

    def _GetCapacity(self, request: Any) -> Any:  # noqa: N802
        return csi.GetCapacityResponse(available_capacity=5 << 30)


class World:
    def __init__(self, api: Any, context: Any) -> None:
        self.api, self.context, self.driver = api, context, FaultyDriver()
        #: besides ``CALLS``
        self.calls: tuple[str, ...] = ()

    def learned(self, *services: str) -> Driver:
        client: Any = self.driver
        return Driver(NAME, client, frozenset(("CONTROLLER_SERVICE", *services)), frozenset((*CALLS, *self.calls)))

    def config(self, **fields: Any) -> SidecarConfig:
        return SidecarConfig(**fields)

    def storage_class(self, name: str = "fast", **fields: Any) -> None:
        self.api.add(STORAGE_CLASSES, {"metadata": {"name": name}, "provisioner": NAME, **fields})

    def attributes_class(self, name: str, driver: str = NAME) -> None:
        self.api.add(
            VOLUME_ATTRIBUTES_CLASSES, {"metadata": {"name": name}, "driverName": driver, "parameters": {"is": name}}
        )

    def claim(self, name: str = "data", *, node: str = "", size: str = "1Gi", **spec: Any) -> Obj:
        annotations = {PROVISIONER: NAME} | ({NODE: node} if node else {})
        wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "annotations": annotations}
        body = {"metadata": meta, "spec": {**wanted, "storageClassName": "fast", "volumeMode": "Filesystem", **spec}}
        made: Obj = self.api.add(PERSISTENT_VOLUME_CLAIMS, {**body, "status": {"phase": "Pending"}})
        return made

    def node(self, name: str, zone: str) -> None:
        self.api.add(NODES, {"metadata": {"name": name, "labels": {ZONE: zone}}})
        drivers = [{"name": NAME, "nodeID": name, "topologyKeys": [ZONE]}]
        self.api.add(CSI_NODES, {"metadata": {"name": name}, "spec": {"drivers": drivers}})

    def volume(self, claim: str = "data") -> Obj:
        found: Obj = self.api.get(PERSISTENT_VOLUMES, "", f"pvc-uid-{claim}")
        return found

    def get_claim(self, name: str = "data") -> Obj:
        found: Obj = self.api.get(PERSISTENT_VOLUME_CLAIMS, "ns", name)
        return found


@pytest.fixture
def new_world(make_api: Any, make_context: Any, virtual_clock: Any) -> Any:
    """To be called inside of a virtual loop."""

    def make() -> World:
        api = make_api()
        return World(api, make_context(api, virtual_clock()))

    return make
