"""The sidecars and the snapshot controller with our own driver, over its socket: in the end no file is left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.api.resources import CSI_NODES, CSI_STORAGE_CAPACITIES, NODES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from sampan.controllers.persistentvolume.controller import PersistentVolumeController
from sampan.controllers.snapshot.controller import Snapshots
from sampan.controllers.volumeprotection.controller import ClaimProtectionController, VolumeProtectionController
from sampan.csi.client import DriverClient
from sampan.csi.driver import NAME, NODE_KEY
from sampan.csi.driver.controller import Options
from sampan.csi.driver.files import Files
from sampan.csi.driver.main import Driver
from sampan.csi.server import serve as serve_driver
from sampan.sidecars.config import SidecarConfig
from sampan.sidecars.main import serve, wait_driver


class NoDevices:
    """A machine on which nothing is attached or mounted."""

    async def loop_of(self, disk: Path) -> None:
        return None

    def mounts(self) -> list[Any]:
        return []


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # the driver is asked over a real socket
            await asyncio.sleep(0.005)


def files_below(root: Path) -> list[str]:
    """While others remove some."""
    return [name for _, _, names in os.walk(root) for name in names]


def claim(name: str, **spec: Any) -> dict[str, Any]:
    annotations = {
        "volume.kubernetes.io/storage-provisioner": NAME,
        "volume.kubernetes.io/selected-node": "n",
    }
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Mi"}}}
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "annotations": annotations}
    body = {**wanted, "storageClassName": "loopfile", "volumeMode": "Filesystem", **spec}
    return {"metadata": meta, "spec": body, "status": {"phase": "Pending"}}


@pytest.fixture
async def files(tmp_path: Path, clock: Any) -> Any:
    made = Files(tmp_path / "root")
    made.open()
    devices: Any = NoDevices()
    server = await serve_driver(str(tmp_path / "s"), Driver(made, devices, Options("n"), clock))
    yield made
    await server.stop(None)


async def test_from_a_claim_to_a_restored_and_a_cloned_one_and_back(
    make_api: Any, make_context: Any, run_with: Any, clock: Any, files: Files, tmp_path: Path
) -> None:
    """[sig-storage] CSI: provisioning, snapshot, restore and clone by a driver over its socket"""
    api = make_api()
    context = make_context(api)
    api.add(NODES, {"metadata": {"name": "n", "labels": {NODE_KEY: "n"}}})
    drivers = [{"name": NAME, "nodeID": "n", "topologyKeys": [NODE_KEY]}]
    api.add(CSI_NODES, {"metadata": {"name": "n"}, "spec": {"drivers": drivers}})
    delayed = {"volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete"}
    api.add(STORAGE_CLASSES, {"metadata": {"name": "loopfile"}, "provisioner": NAME, **delayed})
    api.add(VOLUME_SNAPSHOT_CLASSES, {"metadata": {"name": "s"}, "driver": NAME, "deletionPolicy": "Delete"})
    client = DriverClient(str(tmp_path / "s"))
    learned = await wait_driver(client)
    config = SidecarConfig(node="n", capacity=True, namespace="driver")
    user = context.client_for("x")
    sidecar = asyncio.ensure_future(serve(config, user, learned, clock, context.random))
    controllers = (PersistentVolumeController, ClaimProtectionController, VolumeProtectionController, Snapshots)

    def bound(name: str) -> bool:
        return bool(api.get(PERSISTENT_VOLUME_CLAIMS, "ns", name)["status"]["phase"] == "Bound")

    async with run_with(context, *(each(context) for each in controllers)):
        await until(lambda: api.all(CSI_STORAGE_CAPACITIES))
        api.add(PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await until(lambda: bound("data"))
        origin = files.find("volumes", "pvc-uid-data")
        assert origin is not None
        origin.disk.write_bytes(b"before".ljust(2 << 20, b"\0"))
        source = {"persistentVolumeClaimName": "data"}
        spec = {"volumeSnapshotClassName": "s", "source": source}
        api.add(VOLUME_SNAPSHOTS, {"metadata": {"name": "s", "namespace": "ns", "uid": "uid-s"}, "spec": spec})
        await until(lambda: api.get(VOLUME_SNAPSHOTS, "ns", "s").get("status", {}).get("readyToUse"))
        origin.disk.write_bytes(b"after".ljust(2 << 20, b"\0"))
        of_snapshot = {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "s"}
        api.add(PERSISTENT_VOLUME_CLAIMS, claim("restored", dataSource=of_snapshot))
        api.add(PERSISTENT_VOLUME_CLAIMS, claim("cloned", dataSource={"kind": "PersistentVolumeClaim", "name": "data"}))
        await until(lambda: bound("restored") and bound("cloned"))
        for name, data in (("restored", b"before"), ("cloned", b"after\0")):
            made = files.find("volumes", f"pvc-uid-{name}")
            assert made is not None and made.disk.read_bytes()[:6] == data
        await user.delete(VOLUME_SNAPSHOTS, "s", "ns")
        for name in ("data", "restored", "cloned"):
            await user.delete(PERSISTENT_VOLUME_CLAIMS, name, "ns")
        await until(lambda: not files_below(files.root))
        await until(lambda: not api.all(VOLUME_SNAPSHOT_CONTENTS) and not api.all(VOLUME_SNAPSHOTS))
    sidecar.cancel()
    await asyncio.gather(sidecar, return_exceptions=True)
    await client.close()
