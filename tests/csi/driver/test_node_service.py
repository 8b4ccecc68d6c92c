"""Staging and publishing: repeated, interrupted and wrong calls mount nothing twice and leave nothing."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from sampan.csi.driver import copying
from sampan.csi.driver.attributes import Tuning
from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi


class Place:
    def __init__(self, asked: Any, root: Path, volume: Any, capability: Any) -> None:
        self.asked, self.id, self.capability = asked, volume.volume_id, capability
        self.staging, self.target = str(root / "kubelet/staging"), str(root / "kubelet/pods/p/mount")

    async def stage(self) -> Any:
        return await self.asked.node(
            "NodeStageVolume",
            volume_id=self.id,
            staging_target_path=self.staging,
            volume_capability=self.capability,
        )

    async def publish(self, *, readonly: bool = False) -> Any:
        return await self.asked.node(
            "NodePublishVolume",
            volume_id=self.id,
            staging_target_path=self.staging,
            target_path=self.target,
            volume_capability=self.capability,
            readonly=readonly,
        )

    async def unpublish(self) -> Any:
        return await self.asked.node("NodeUnpublishVolume", volume_id=self.id, target_path=self.target)

    async def unstage(self) -> Any:
        return await self.asked.node("NodeUnstageVolume", volume_id=self.id, staging_target_path=self.staging)


@pytest.fixture
async def place(asked: Any, tmp_path: Path, capability: Any) -> Place:
    return Place(asked, tmp_path, await asked.create(), capability.mounted())


async def test_each_call_may_come_twice(place: Place, machine: Any) -> None:
    for _ in range(2):
        await place.stage()
    for _ in range(2):
        await place.publish()
    assert machine.calls == ["attach", "format ext4", "resize", "grow unmounted", "mount", "bind"]
    for _ in range(2):
        await place.unpublish()
    assert not Path(place.target).exists()
    for _ in range(2):
        await place.unstage()
    assert not machine.mounted and not machine.loops
    await place.stage()
    assert machine.calls.count("format ext4") == 1, "what holds data is never formatted"


async def test_a_volume_is_published_only_where_it_is_staged(place: Place) -> None:
    with pytest.raises(DriverError, match="is not staged") as caught:
        await place.publish()
    assert caught.value.code == "FailedPrecondition"


async def test_a_target_that_has_something_else_is_not_touched(place: Place) -> None:
    await place.stage()
    await place.publish(readonly=True)
    with pytest.raises(DriverError, match="something else is mounted") as caught:
        await place.publish()
    assert caught.value.code == "AlreadyExists"


async def test_formatting_that_was_interrupted_is_done_anew(place: Place, machine: Any) -> None:
    machine.fails = "format ext4"
    with pytest.raises(DriverError, match="format ext4 failed"):
        await place.stage()
    machine.fails = "mount"
    with pytest.raises(DriverError, match="mount failed"):
        await place.stage()
    await place.stage()
    assert machine.calls.count("format ext4") == machine.calls.count("mount") == machine.calls.count("attach") == 1


async def test_a_restored_volume_keeps_its_file_system_and_fills_its_disk(
    place: Place, machine: Any, asked: Any, tmp_path: Path, capability: Any
) -> None:
    await place.stage()
    machine.mounted.clear()  # nothing real is mounted that could be frozen
    taken = await asked.snapshot(place.id)
    source = csi.VolumeContentSource(snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=taken.snapshot_id))
    made = await asked.create("restored", volume_content_source=source)
    machine.calls.clear()
    await Place(asked, tmp_path / "other", made, capability.mounted("xfs")).stage()
    assert machine.calls == ["attach", "resize", "grow unmounted", "mount"]


async def test_a_block_volume_is_its_device(asked: Any, tmp_path: Path, capability: Any, machine: Any) -> None:
    volume = await asked.create("raw", volume_capabilities=[capability.block()])
    place = Place(asked, tmp_path, volume, capability.block())
    await place.stage()
    for _ in range(2):
        await place.publish()
    assert machine.calls == ["attach", "bind"] and Path(place.target).is_file()
    with pytest.raises(DriverError, match="is in use") as caught:
        await asked.controller("DeleteVolume", volume_id=place.id)
    assert caught.value.code == "FailedPrecondition"
    await place.unpublish()
    assert not Path(place.target).exists()
    await place.unstage()
    await asked.controller("DeleteVolume", volume_id=place.id)
    assert not machine.loops


async def test_what_a_pod_wrote_to_a_device_is_never_formatted_away(
    asked: Any, tmp_path: Path, capability: Any, machine: Any
) -> None:
    volume = await asked.create("raw", volume_capabilities=[capability.block()])
    device = Place(asked, tmp_path, volume, capability.block())
    await device.stage()
    await device.unstage()
    copied = await asked.create("copy", volume_content_source=copy_of(volume))
    for each in (volume, copied):
        machine.calls.clear()
        await Place(asked, tmp_path / each.volume_id, each, capability.mounted()).stage()
        assert machine.calls == ["attach", "resize", "grow unmounted", "mount"]


class Held:
    """A copy that is under way until ``go`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        monkeypatch.setattr(copying, "clone", self.clone)

    def clone(self, source: Path, target: Path) -> bool:
        self.begun.set()
        self.go.wait()
        target.write_bytes(source.read_bytes())
        return True


def copy_of(volume: Any) -> Any:
    return csi.VolumeContentSource(volume=csi.VolumeContentSource.VolumeSource(volume_id=volume.volume_id))


async def test_no_pod_gets_a_volume_while_it_is_copied(
    place: Place, asked: Any, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    copies = [asyncio.create_task(asked.snapshot(place.id))]
    await asyncio.to_thread(held.begun.wait)
    others = [
        asyncio.create_task(place.stage()),
        asyncio.create_task(asked.controller("DeleteVolume", volume_id="x@node-1")),
    ]
    await others[1]
    await asyncio.wait(others[:1], timeout=0.1)
    assert not machine.calls, "it was staged, and would have been written to"
    held.go.set()
    await asyncio.gather(*copies, *others)
    assert machine.calls[-1] == "mount"


async def test_a_driver_that_ends_leaves_no_copy_half_done(
    place: Place, asked: Any, monkeypatch: pytest.MonkeyPatch, holds: Any
) -> None:
    asked.files.find("volumes", "pvc-1").disk.write_bytes(bytes(4 << 20))
    monkeypatch.setattr(copying, "clone", lambda source, target: False)
    before = holds(asked.files.root)
    asked.driver.controller.close()
    with pytest.raises(DriverError, match="the driver ends before the copy is whole") as caught:
        await asked.snapshot(place.id)
    assert caught.value.code == "Aborted"
    assert holds(asked.files.root) == before


async def test_a_volume_grows_where_it_is_mounted(place: Place, asked: Any, machine: Any) -> None:
    await place.stage()
    Path(place.staging).mkdir(parents=True, exist_ok=True)
    wanted = csi.CapacityRange(required_bytes=8 << 20)
    with pytest.raises(DriverError, match="the controller grows it first"):
        await asked.node("NodeExpandVolume", volume_id=place.id, volume_path=place.staging, capacity_range=wanted)
    await asked.controller("ControllerExpandVolume", volume_id=place.id, capacity_range=wanted)
    answer = await asked.node("NodeExpandVolume", volume_id=place.id, volume_path=place.staging, capacity_range=wanted)
    assert answer.capacity_bytes == 8 << 20
    assert machine.calls[-2:] == ["resize", "grow"]


async def test_attributes_are_the_devices_while_the_volume_is_on_it(place: Place, asked: Any, machine: Any) -> None:
    wanted = {"readAheadKiB": "512", "directIO": "true", "csi.storage.k8s.io/pvc/name": "data"}
    await asked.controller("ControllerModifyVolume", volume_id=place.id, mutable_parameters=wanted)
    assert not machine.tuned, "it has no device yet"
    await place.stage()
    assert machine.tuned == {"/dev/loop1": Tuning(512, direct_io=True)}
    await asked.controller("ControllerModifyVolume", volume_id=place.id, mutable_parameters={"readAheadKiB": "64"})
    assert machine.tuned == {"/dev/loop1": Tuning(64, direct_io=True)}, "what is not named stays"
    await place.unstage()
    assert machine.tuned == {"/dev/loop1": Tuning()}, "the next volume begins as usual"


async def test_a_volume_may_begin_with_attributes(asked: Any, tmp_path: Path, capability: Any, machine: Any) -> None:
    for _ in range(2):
        volume = await asked.create(mutable_parameters={"readAheadKiB": "0"})
    await Place(asked, tmp_path, volume, capability.mounted()).stage()
    assert machine.tuned == {"/dev/loop1": Tuning(0)}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"iops": "500"}, "iops is not known: there are readAheadKiB and directIO"),
        ({"readAheadKiB": "-4"}, "readAheadKiB: -4 is not a multiple of 4 from 0 to 65536"),
        ({"readAheadKiB": "70000"}, "readAheadKiB: 70000 is not"),
        ({"readAheadKiB": "4" * 5000}, f"readAheadKiB: {'4' * 60} is not"),
        ({"directIO": "yes"}, "directIO: yes is neither true nor false"),
    ],
    ids=["unknown", "negative", "large", "endless", "no word"],
)
async def test_attributes_that_there_are_not_are_an_invalid_argument(
    place: Place, asked: Any, wanted: dict[str, str], words: str
) -> None:
    with pytest.raises(DriverError, match=words) as caught:
        await asked.controller("ControllerModifyVolume", volume_id=place.id, mutable_parameters=wanted)
    assert caught.value.code == "InvalidArgument"


async def test_statistics_are_of_what_is_mounted(place: Place, asked: Any) -> None:
    await place.stage()
    with pytest.raises(DriverError, match="is not at"):
        await asked.node("NodeGetVolumeStats", volume_id=place.id, volume_path=place.target)
    await place.publish()
    answer = await asked.node("NodeGetVolumeStats", volume_id=place.id, volume_path=place.target)
    assert {each.unit: each.total > 0 for each in answer.usage} == {1: True, 2: True}
    assert not answer.volume_condition.abnormal


async def test_a_volume_whose_file_system_has_found_faults_is_abnormal(place: Place, asked: Any, machine: Any) -> None:
    await place.stage()
    await place.publish()
    machine.ailments["/dev/loop1"] = "it hurts"
    answer = await asked.node("NodeGetVolumeStats", volume_id=place.id, volume_path=place.target)
    assert (answer.volume_condition.abnormal, answer.volume_condition.message) == (True, "it hurts")


async def test_in_whatever_order_calls_come_and_fail_nothing_is_mounted_twice_or_left(
    place: Place, machine: Any
) -> None:
    chance = random.Random(1)
    for _ in range(250):
        if chance.random() < 0.3:
            machine.fails = chance.choice(["attach", "mount", "bind", "unmount", "detach", "format ext4"])
        call = chance.choice([place.stage, place.publish, place.unpublish, place.unstage])
        try:
            await call()
        except DriverError as error:
            assert error.code in ("Internal", "FailedPrecondition"), error
    machine.fails = ""
    await place.unpublish()
    await place.unstage()
    assert not machine.mounted and not machine.loops
