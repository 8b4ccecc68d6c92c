"""What a driver's controller says of the health of volumes, as Events of their claims."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars.monitor import HealthMonitor, can_tell
from sampan.testing import virtual

Obj = dict[str, Any]


def bound(world: Any, name: str) -> None:
    world.claim(name, volumeName=f"pvc-uid-{name}")
    world.api.change(PERSISTENT_VOLUME_CLAIMS, "ns", name, lambda claim: claim.update(status={"phase": "Bound"}))
    source = {"driver": "d.example", "volumeHandle": f"id-pvc-uid-{name}"}
    spec = {"csi": source, "claimRef": {"namespace": "ns", "name": name, "uid": f"uid-{name}"}}
    volume = {"metadata": {"name": f"pvc-uid-{name}"}, "spec": spec, "status": {"phase": "Bound"}}
    world.api.add(PERSISTENT_VOLUMES, volume)
    world.driver.volumes[f"pvc-uid-{name}"] = csi.Volume(volume_id=f"id-pvc-uid-{name}")


def told(world: Any) -> list[tuple[str, str, str]]:
    return [(each["involvedObject"]["name"], each["reason"], each["message"]) for each in world.api.all(EVENTS)]


@pytest.mark.parametrize(("call", "seconds"), [("LIST_VOLUMES", 300), ("GET_VOLUME", 60)])
def test_a_claim_is_told_that_its_volume_is_abnormal_and_when_it_is_well_again(
    new_world: Any, run_with: Any, call: str, seconds: float
) -> None:
    async def main() -> None:
        world = new_world()
        world.calls = ("VOLUME_CONDITION", call)
        context = world.context
        assert can_tell(world.learned())
        for name in ("well", "ill"):
            bound(world, name)
        world.driver.ailments = {"id-pvc-uid-well": "", "id-pvc-uid-ill": "it is on fire"}
        args = (context.client_for("x"), context.informers, world.learned(), world.config(), context.clock)
        async with run_with(context, HealthMonitor(*args)):
            await asyncio.sleep(1)
            abnormal = ("ill", "VolumeConditionAbnormal", "it is on fire")
            assert told(world) == [abnormal]
            world.driver.faults = ["Internal"]
            await asyncio.sleep(seconds)
            world.driver.ailments["id-pvc-uid-ill"] = ""
            await asyncio.sleep(seconds)
        normal = ("ill", "VolumeConditionNormal", "The Volume returns to the healthy state")
        assert set(told(world)) == {abnormal, normal}

    virtual.run(main())


def test_a_driver_that_says_nothing_of_health_is_not_asked(new_world: Any) -> None:
    world = virtual.run(asyncio.sleep(0, new_world()))
    world.calls = ("LIST_VOLUMES", "GET_VOLUME")
    assert not can_tell(world.learned())
