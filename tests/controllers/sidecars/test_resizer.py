"""Growth of volumes: what the driver is asked, and what the claim says meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars.resizer import Resizer
from sampan.testing import virtual

Obj = dict[str, Any]


def bound(world: Any, size: str = "1Gi", asks: str = "2Gi") -> None:
    world.claim(size=asks, volumeName="pvc-uid-data")
    status = {"phase": "Bound", "capacity": {"storage": size}}
    world.api.change(PERSISTENT_VOLUME_CLAIMS, "ns", "data", lambda claim: claim.update(status=status))
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "d.example", "volumeHandle": "id-pvc-uid-data", "fsType": "ext4"},
        "claimRef": {"namespace": "ns", "name": "data", "uid": "uid-data"},
    }
    world.api.add(PERSISTENT_VOLUMES, {"metadata": {"name": "pvc-uid-data"}, "spec": spec})
    world.driver.volumes["pvc-uid-data"] = csi.Volume(volume_id="id-pvc-uid-data", capacity_bytes=1 << 30)


def resizer(world: Any, **config: Any) -> Resizer:
    context = world.context
    return Resizer(context.client_for("x"), context.informers, world.learned(), world.config(**config), context.clock)


@pytest.mark.parametrize("fault", ["", "lost", "hung", "Unavailable"])
def test_the_driver_grows_the_volume_and_the_node_is_left_its_part(new_world: Any, run_with: Any, fault: str) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = [fault] if fault else []
        bound(world)
        async with run_with(world.context, resizer(world)):
            await asyncio.sleep(0.5 if fault in ("lost", "hung") else 5)
            if fault in ("lost", "hung"):
                status = world.get_claim()["status"]
                assert status["allocatedResourceStatuses"] == {"storage": "ControllerResizeInProgress"}
                assert [each["type"] for each in status["conditions"]] == ["Resizing"]
            await asyncio.sleep(60)
        assert world.volume()["spec"]["capacity"] == {"storage": "2Gi"}
        status = world.get_claim()["status"]
        assert status["capacity"] == {"storage": "1Gi"}, "the file system has not grown yet"
        assert status["allocatedResources"] == {"storage": "2Gi"}
        assert status["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
        [condition] = status["conditions"]
        assert (condition["type"], condition["status"]) == ("FileSystemResizePending", "True")
        told = [each["reason"] for each in world.api.all(EVENTS) if each["type"] == "Normal"]
        assert told == ["Resizing", "FileSystemResizeRequired"]
        assert world.driver.count("ControllerExpandVolume") == (2 if fault else 1)
        [(_, request), *_] = world.driver.requests
        assert request.capacity_range.required_bytes == 2 << 30
        assert request.volume_capability.mount.fs_type == "ext4"

    virtual.run(main())


def test_a_volume_that_needs_nothing_of_the_node_has_grown_at_once(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.on_node = False
        bound(world)
        async with run_with(world.context, resizer(world)):
            await asyncio.sleep(5)
        status = world.get_claim()["status"]
        assert status["capacity"] == {"storage": "2Gi"}
        assert not status.get("conditions") and not status.get("allocatedResourceStatuses")
        assert world.api.all(EVENTS)[-1]["reason"] == "VolumeResizeSuccessful"

    virtual.run(main())


def test_what_cannot_be_is_said_and_less_may_be_asked_for(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = ["OutOfRange"]
        bound(world, asks="9Gi")
        async with run_with(world.context, resizer(world)):
            await asyncio.sleep(600)
            assert world.driver.count("ControllerExpandVolume") == 1
            status = world.get_claim()["status"]
            assert status["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
            said = [each["message"] for each in world.api.all(EVENTS) if each["reason"] == "VolumeResizeFailed"]
            words = 'resize volume "pvc-uid-data" by resizer "d.example" failed: rpc error: code = OutOfRange'
            assert said[0].startswith(words)

            def less(claim: Obj) -> None:
                claim["spec"]["resources"]["requests"]["storage"] = "2Gi"

            world.api.change(PERSISTENT_VOLUME_CLAIMS, "ns", "data", less)
            await asyncio.sleep(60)
        assert world.volume()["spec"]["capacity"] == {"storage": "2Gi"}
        assert world.get_claim()["status"]["allocatedResources"] == {"storage": "2Gi"}

    virtual.run(main())


def test_volumes_of_others_are_left_alone(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        bound(world)
        other = {"driver": "other", "volumeHandle": "x"}
        world.api.change(PERSISTENT_VOLUMES, "", "pvc-uid-data", lambda volume: volume["spec"].update(csi=other))
        async with run_with(world.context, resizer(world)):
            await asyncio.sleep(5)
        assert not world.driver.requests and not world.api.all(EVENTS)

    virtual.run(main())


def test_a_driver_that_grows_nothing_in_use_is_asked_again_when_the_pods_have_ended(
    new_world: Any, run_with: Any
) -> None:
    async def main() -> None:
        world = new_world()
        world.driver.faults = ["FailedPrecondition"]
        bound(world)
        volume = {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}
        pod = {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"volumes": [volume]}, "status": {}}
        world.api.add(PODS, pod)
        async with run_with(world.context, resizer(world)):
            await asyncio.sleep(600)
            assert world.driver.count("ControllerExpandVolume") == 1
            words = (
                "Unable to expand ns/data because CSI driver d.example only supports offline expansion and volume is "
                "currently in-use"
            )
            assert words in [each["message"] for each in world.api.all(EVENTS) if each["type"] == "Warning"]
            world.api.change(PODS, "ns", "p", lambda found: found.update(status={"phase": "Succeeded"}))
            await asyncio.sleep(60)
        assert world.driver.count("ControllerExpandVolume") == 2
        assert world.volume()["spec"]["capacity"] == {"storage": "2Gi"}

    virtual.run(main())
