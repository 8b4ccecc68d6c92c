"""The driver on real loop devices: data through growth, snapshot, restore and clone, and nothing left."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.csi.driver.attributes import Tuning
from sampan.csi.driver.devices import LinuxDevices, attached, detached
from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi


def _loops() -> bool:
    """Whether this machine lets the test have one."""
    if os.geteuid() != 0 or not all(shutil.which(each) for each in ("losetup", "mkfs.ext4", "resize2fs")):
        return False
    return subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode == 0


def is_let_go(disk: Path) -> bool:
    """It has no device, or one that goes as soon as nobody has its mount any more: a mount namespace that somebody else
    made meanwhile has it too."""
    asked = ["losetup", "--noheadings", "--output", "AUTOCLEAR", "--associated", str(disk)]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split() in ([], ["1"])


pytestmark = pytest.mark.skipif(not _loops(), reason="needs root, loop devices and e2fsprogs")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Any]:
    yield LinuxDevices()
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        if path.is_mount():
            subprocess.run(["umount", str(path)], check=False)
    for disk in tmp_path.rglob("disk"):
        said = subprocess.run(
            ["losetup", "-n", "-O", "NAME", "-j", str(disk)], capture_output=True, text=True, check=False
        )
        for device in said.stdout.split():
            subprocess.run(["losetup", "-d", device], check=False)


async def test_a_volume_lives_through_all_that_can_be_done_to_it(
    asked: Any, capability: Any, tmp_path: Path, machine: Any
) -> None:
    """[sig-storage] CSI: data through expansion, other attributes, snapshot, restore and clone of a volume"""

    async def stage(**fields: Any) -> None:
        """A mount namespace that somebody else made meanwhile may have the mount of before, for a while."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await asked.node("NodeStageVolume", **fields)
                    return
                except DriverError as error:
                    if "e2fsck: Cannot continue" not in str(error):
                        raise
                    await asyncio.sleep(0.1)

    async def use(volume: Any, where: str, *, readonly: bool = False) -> Path:
        staging, target = tmp_path / where / "staging", tmp_path / where / "target"
        staged = {"volume_id": volume.volume_id, "staging_target_path": str(staging)}
        wanted = capability.mounted(flags=("noatime",))
        for _ in range(2):
            await stage(volume_capability=wanted, **staged)
            await asked.node(
                "NodePublishVolume", target_path=str(target), volume_capability=wanted, readonly=readonly, **staged
            )
        return target

    async def leave(volume: Any, where: str) -> None:
        staging, target = tmp_path / where / "staging", tmp_path / where / "target"
        for _ in range(2):
            await asked.node("NodeUnpublishVolume", volume_id=volume.volume_id, target_path=str(target))
            await asked.node("NodeUnstageVolume", volume_id=volume.volume_id, staging_target_path=str(staging))

    volume = await asked.create(size=16 << 20)
    target = await use(volume, "first")
    (target / "data").write_text("before")
    before = os.statvfs(target).f_blocks
    wanted = csi.CapacityRange(required_bytes=48 << 20)
    await asked.controller("ControllerExpandVolume", volume_id=volume.volume_id, capacity_range=wanted)
    grow = {"volume_id": volume.volume_id, "volume_path": str(target), "capacity_range": wanted}
    try:
        await asked.node("NodeExpandVolume", **grow)
    except DriverError as error:
        assert "CAP_SYS_RESOURCE" in str(error), "only a process without that right may not do it"
        await leave(volume, "first")
        await use(volume, "first")
        await asked.node("NodeExpandVolume", **grow)
    assert os.statvfs(target).f_blocks > 2 * before

    device = Path("/sys/block") / Path(await machine.loop_of(asked.files.find("volumes", "pvc-1").disk)).name
    usual = (device / "queue/read_ahead_kb").read_text()
    wanted = {"readAheadKiB": "256", "directIO": "true"}
    await asked.controller("ControllerModifyVolume", volume_id=volume.volume_id, mutable_parameters=wanted)
    assert (device / "queue/read_ahead_kb").read_text() == "256\n"
    assert (device / "loop/dio").read_text() == "1\n"
    await machine.tune(f"/dev/{device.name}", Tuning())
    assert (device / "queue/read_ahead_kb").read_text() == usual, "as the kernel had it"
    assert (device / "loop/dio").read_text() == "0\n"

    taken = await asked.snapshot(volume.volume_id)  # while it is mounted
    (target / "data").write_text("after")
    snapshot = csi.VolumeContentSource.SnapshotSource(snapshot_id=taken.snapshot_id)
    restored = await asked.create(
        "restored", size=64 << 20, volume_content_source=csi.VolumeContentSource(snapshot=snapshot)
    )
    origin = csi.VolumeContentSource.VolumeSource(volume_id=volume.volume_id)
    cloned = await asked.create("cloned", size=48 << 20, volume_content_source=csi.VolumeContentSource(volume=origin))
    old, new = await use(restored, "second", readonly=True), await use(cloned, "third")
    assert (old / "data").read_text() == "before" and (new / "data").read_text() == "after"
    assert os.statvfs(old).f_blocks > os.statvfs(target).f_blocks, "it fills the larger disk"
    with pytest.raises(OSError, match="Read-only"):
        (old / "more").touch()
    (target / "data").write_text("it can be written to after a copy")

    stats = {"volume_id": volume.volume_id, "volume_path": str(target)}
    assert not (await asked.node("NodeGetVolumeStats", **stats)).volume_condition.abnormal
    (Path("/sys/fs/ext4") / device.name / "trigger_fs_error").write_text("a test")
    async with asyncio.timeout(60):  # it is noted a moment later
        while not (condition := (await asked.node("NodeGetVolumeStats", **stats)).volume_condition).abnormal:  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(0.05)
    assert condition.message.startswith("ext4 has noted 1 errors")

    for each, where in ((volume, "first"), (restored, "second"), (cloned, "third")):
        await leave(each, where)
        assert is_let_go(asked.files.root / "volumes" / each.volume_id.partition("@")[0] / "disk")
        await asked.controller("DeleteVolume", volume_id=each.volume_id)
    await asked.controller("DeleteSnapshot", snapshot_id=taken.snapshot_id)
    assert not [path for path in asked.files.root.rglob("*") if path.is_file()]


async def test_a_device_that_is_being_let_go_is_kept_and_one_of_another_file_is_not_taken(
    machine: Any, tmp_path: Path
) -> None:
    disk, other = tmp_path / "disk", tmp_path / "other" / "disk"
    other.parent.mkdir()
    for each in (disk, other):
        each.write_bytes(bytes(1 << 20))
    device = await machine.attach(disk)
    looking = os.open(device, os.O_RDONLY)
    try:
        await machine.detach(device)  # it goes when nobody looks any more
        assert machine.hold(device, other) is None
        await detached(machine, device, other)
        async with attached(machine, disk) as held:
            assert held == device
    finally:
        os.close(looking)
    assert await machine.loop_of(disk) == device
    await detached(machine, device, disk)
