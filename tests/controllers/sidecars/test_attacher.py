"""VolumeAttachments of a driver: what it is asked, what becomes of lost answers, and that nothing goes too early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import PERSISTENT_VOLUMES, VOLUME_ATTACHMENTS
from sampan.client.client import Client
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars.attacher import Attacher, finalizer
from sampan.sidecars.config import Driver
from sampan.testing import virtual

Obj = dict[str, Any]
HELD = "external-attacher/d-example"


class Attached:
    """The driver's side: which volumes are at which node, each asked as often as one likes."""

    def __init__(self, world: Any) -> None:
        self.at: set[tuple[str, str]] = set()
        world.driver._ControllerPublishVolume = self._publish
        world.driver._ControllerUnpublishVolume = self._unpublish

    def _publish(self, request: Any) -> Any:
        self.at.add((request.volume_id, request.node_id))
        return csi.ControllerPublishVolumeResponse(publish_context={"device": "sdq"})

    def _unpublish(self, request: Any) -> Any:
        self.at.discard((request.volume_id, request.node_id))
        return csi.ControllerUnpublishVolumeResponse()


def attacher(world: Any, *calls: str) -> Attacher:
    context, client = world.context, world.driver
    driver = Driver("d.example", client, frozenset(("CONTROLLER_SERVICE",)), frozenset(calls))
    return Attacher(context.client_for("x"), context.informers, driver, world.config(timeout_seconds=1), context.clock)


def asked(world: Any, driver: str = "d.example") -> None:
    world.node("n1", "z")
    source = {"driver": driver, "volumeHandle": "h", "fsType": "ext4", "volumeAttributes": {"k": "v"}}
    spec = {"accessModes": ["ReadWriteOnce"], "csi": source, "mountOptions": ["noatime"]}
    world.api.add(PERSISTENT_VOLUMES, {"metadata": {"name": "pv", "finalizers": ["kubernetes.io/pv"]}, "spec": spec})
    body = {"attacher": driver, "nodeName": "n1", "source": {"persistentVolumeName": "pv"}}
    world.api.add(VOLUME_ATTACHMENTS, {"metadata": {"name": "a"}, "spec": body})


def attachment(world: Any) -> Obj | None:
    found: Obj | None = world.api.get(VOLUME_ATTACHMENTS, "", "a")
    return found


async def delete(world: Any, resource: Any, name: str) -> None:
    await Client(world.api).delete(resource, name)


@pytest.mark.parametrize("fault", ["", "lost", "hung", "Internal"])
def test_a_volume_is_attached_held_and_taken_off_whatever_is_lost(new_world: Any, run_with: Any, fault: str) -> None:
    async def main() -> None:
        world = new_world()
        disks = Attached(world)
        world.driver.faults = [fault] if fault else []
        asked(world)
        async with run_with(world.context, attacher(world, "PUBLISH_UNPUBLISH_VOLUME")):
            await asyncio.sleep(60)
            found = attachment(world) or {}
            assert found["status"] == {"attached": True, "attachmentMetadata": {"device": "sdq"}}
            assert found["metadata"]["finalizers"] == [HELD]
            assert found["metadata"]["annotations"] == {"csi.alpha.kubernetes.io/node-id": "n1"}
            request = world.driver.requests[0][1]
            assert (request.volume_id, request.node_id, dict(request.volume_context)) == ("h", "n1", {"k": "v"})
            assert list(request.volume_capability.mount.mount_flags) == ["noatime"]
            await delete(world, PERSISTENT_VOLUMES, "pv")
            await asyncio.sleep(10)
            assert HELD in world.api.get(PERSISTENT_VOLUMES, "", "pv")["metadata"]["finalizers"]
            world.driver.faults = [fault] if fault else []
            await delete(world, VOLUME_ATTACHMENTS, "a")
            await asyncio.sleep(60)
            assert (attachment(world), disks.at) == (None, set())
            assert world.api.get(PERSISTENT_VOLUMES, "", "pv")["metadata"]["finalizers"] == ["kubernetes.io/pv"]

    virtual.run(main())


def test_a_failure_is_told_in_the_attachment_and_tried_again(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        Attached(world)
        world.driver.faults = ["ResourceExhausted"] * 3
        asked(world)
        async with run_with(world.context, attacher(world, "PUBLISH_UNPUBLISH_VOLUME")):
            await asyncio.sleep(0.001)
            status = (attachment(world) or {})["status"]
            assert status["attached"] is False
            words = "rpc error: code = ResourceExhausted desc = as it happens"
            assert status["attachError"]["message"] == words
            await asyncio.sleep(60)
            assert (attachment(world) or {})["status"]["attached"] is True

    virtual.run(main())


def test_what_may_have_been_attached_is_taken_off_before_it_is_forgotten(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        disks = Attached(world)
        world.driver.faults = ["lost"]
        asked(world)
        async with run_with(world.context, attacher(world, "PUBLISH_UNPUBLISH_VOLUME")):
            await asyncio.sleep(0.5)  # it is done, and nobody knows
            await delete(world, VOLUME_ATTACHMENTS, "a")
            await asyncio.sleep(60)
        assert (attachment(world), disks.at) == (None, set())

    virtual.run(main())


def test_a_driver_that_attaches_nothing_is_answered_for(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        asked(world)
        async with run_with(world.context, attacher(world)):
            await asyncio.sleep(1)
            assert (attachment(world) or {})["status"] == {"attached": True}
            assert not world.driver.requests

    virtual.run(main())


def test_attachments_of_other_drivers_are_left_alone(new_world: Any, run_with: Any) -> None:
    async def main() -> None:
        world = new_world()
        asked(world, "other.example")
        async with run_with(world.context, attacher(world, "PUBLISH_UNPUBLISH_VOLUME")):
            await asyncio.sleep(5)
            assert "status" not in (attachment(world) or {})

    virtual.run(main())


@pytest.mark.parametrize(
    ("driver", "name"), [("a.b-c.d", "external-attacher/a-b-c-d"), ("odd.", "external-attacher/odd-X")]
)
def test_a_finalizer_has_the_drivers_name_as_upstream_writes_it(driver: str, name: str) -> None:
    assert finalizer(driver) == name
