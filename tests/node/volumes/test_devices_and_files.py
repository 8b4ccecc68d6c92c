"""Volumes as block devices, volumes that are files of a size, exports of other machines, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from volume_killing import has_loops, machine, may_mount

from sampan.api.types import Obj
from sampan.node.runtime import Device
from sampan.node.simulated_volumes import SimulatedVolumes
from sampan.node.volumes.errors import SetupError, VolumeError
from sampan.node.volumes.localfile import LocalFilePlugin
from sampan.node.volumes.localpath import LocalVolumes
from sampan.node.volumes.loops import LinuxLoops, detach_below
from sampan.node.volumes.manager import VolumeManager, plan_devices
from sampan.node.volumes.mount import LinuxMounter
from sampan.node.volumes.plugins import BUILT_IN
from sampan.node.volumes.refusals import refusal

World = Any  # the fixture of conftest.py
VOLUME = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
OURS = {"pv.kubernetes.io/provisioned-by": "sampan.io/local-path"}
OF_FILE = {**OURS, "storage.sampan.io/backing": "file"}
MIB = 1 << 20


def claim(
    world: World, source: Obj, *, block: bool = False, size: str = "16Mi", annotations: Obj | None = None
) -> None:
    meta = {"name": "c", "namespace": "ns", "uid": "u"}
    world.source.claims["c"] = {"metadata": meta, "spec": {"volumeName": "pvc-1"}, "status": {"phase": "Bound"}}
    spec = {**source, "claimRef": {"uid": "u"}, "capacity": {"storage": size}}
    spec["volumeMode"] = "Block" if block else "Filesystem"
    world.source.volumes["pvc-1"] = {"metadata": {"name": "pvc-1", "annotations": annotations or {}}, "spec": spec}


class PaperLoops:
    """Loop devices that are names."""

    def __init__(self) -> None:
        self.disks: dict[Path, Path] = {}
        self.resized: list[Path] = []

    def attach(self, disk: Path, *, lasting: bool) -> tuple[Path, int]:
        device = Path(f"/dev/loop{90 + len(self.disks)}")
        if lasting:
            self.disks[device] = disk
        return device, os.open(disk, os.O_RDONLY)

    def of(self, disk: Path) -> list[Path]:
        return [device for device, shown in self.disks.items() if shown == disk]

    def detach(self, disk: Path) -> None:
        self.disks = {device: shown for device, shown in self.disks.items() if shown != disk}

    def resize(self, device: Path) -> None:
        self.resized.append(device)


@pytest.fixture
def loops(world: World) -> PaperLoops:
    made = PaperLoops()
    world.manager = manager(world, made, world.mounter)
    return made


def manager(world: World, loops: Any, mounter: Any) -> VolumeManager:
    plugins = {**BUILT_IN, "localFile": LocalFilePlugin(loops)}
    return VolumeManager(world.root, world.source, world.tokens, world.clock, mounter=mounter, plugins=plugins)


def pod(container: Obj, read_only: bool = False) -> Obj:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": read_only}}
    meta = {"name": "web", "namespace": "ns", "uid": "u1"}
    return {"metadata": meta, "spec": {"containers": [container], "volumes": [volume]}}


DEVICE = {"name": "main", "volumeDevices": [{"name": "v", "devicePath": "/dev/xvda"}]}


@pytest.mark.parametrize(("read_only", "permissions"), [(False, "mrw"), (True, "r")])
async def test_a_block_volume_of_the_provisioner_is_a_device_of_the_container(
    world: World, loops: PaperLoops, tmp_path: Path, read_only: bool, permissions: str
) -> None:
    claim(world, {"local": {"path": str(tmp_path / "pvc-1")}}, block=True, annotations=OF_FILE)
    for _ in range(2):  # a second start finds the device
        mounted = await world.manager.mount_pod(pod(DEVICE, read_only))
        assert plan_devices(DEVICE, mounted) == [Device("/dev/loop90", "/dev/xvda", permissions)]
    assert (tmp_path / "pvc-1" / "disk").stat().st_size == 16 * MIB
    assert await world.manager.container_mounts(pod(DEVICE), DEVICE, mounted) == []
    await world.manager.unmount_pod("u1")
    assert loops.disks == {}
    assert (tmp_path / "pvc-1" / "disk").exists()


async def test_a_block_volume_is_as_large_as_its_claim_has_become(
    world: World, loops: PaperLoops, tmp_path: Path
) -> None:
    for size in ("16Mi", "32Mi"):
        claim(world, {"local": {"path": str(tmp_path / "pvc-1")}}, block=True, annotations=OF_FILE, size=size)
        await world.manager.mount_pod(pod(DEVICE))
    assert (tmp_path / "pvc-1" / "disk").stat().st_size == 32 * MIB
    assert loops.resized == [Path("/dev/loop90")]


async def test_a_local_volume_in_block_mode_has_to_be_a_device(world: World, tmp_path: Path) -> None:
    claim(world, {"local": {"path": str(tmp_path)}}, block=True)
    with pytest.raises(VolumeError, match="is not a block device"):
        await world.manager.mount_pod(pod(DEVICE))


@pytest.mark.parametrize(
    ("block", "container", "words"),
    [
        (True, {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, "Block, but is specified in volumeMounts"),
        (False, {"volumeDevices": DEVICE["volumeDevices"]}, "Filesystem, but is specified in volumeDevices"),
    ],
)
async def test_a_device_is_not_mounted_and_a_directory_is_no_device(
    world: World, loops: PaperLoops, tmp_path: Path, block: bool, container: Obj, words: str
) -> None:
    annotations = OF_FILE if block else OURS
    claim(world, {"local": {"path": str(tmp_path / "pvc-1")}}, block=block, annotations=annotations)
    with pytest.raises(VolumeError, match=f"volume v has volumeMode {words}"):
        await world.manager.mount_pod(pod({"name": "main", **container}))


async def test_what_has_no_devices_is_refused_in_block_mode(world: World) -> None:
    claim(world, {"nfs": {"server": "s", "path": "/"}}, block=True)
    with pytest.raises(VolumeError, match='volumeMode Block is not supported by volumes of type "nfs"'):
        await world.manager.mount_pod(pod({"name": "main"}))


async def test_a_device_that_no_volume_of_the_pod_is_is_named(world: World) -> None:
    with pytest.raises(VolumeError, match='cannot find volume "v" to pass into container "main"'):
        plan_devices(DEVICE, await world.manager.mount_pod({**pod(DEVICE), "spec": {"containers": [DEVICE]}}))


async def test_an_export_is_mounted_with_the_volumes_options_and_taken_off_with_the_pod(world: World) -> None:
    claim(world, {"nfs": {"server": "10.0.0.9", "path": "/srv", "readOnly": True}, "mountOptions": ["nfsvers=4.2"]})
    paths = await world.mount(VOLUME, {"name": "w", "nfs": {"server": "fd00::9", "path": "/"}})
    assert world.mounter.mounted == {
        paths["v"]: ("10.0.0.9:/srv", "nfs", ("ro", "nfsvers=4.2")),
        paths["w"]: ("[fd00::9]:/", "nfs", ()),
    }
    await world.manager.unmount_pod("u1")
    assert world.mounter.mounted == {}


async def test_a_local_directory_with_mount_options_is_bound_with_them(world: World, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    claim(world, {"local": {"path": str(data)}, "mountOptions": ["noexec"]})
    paths = await world.mount(VOLUME)
    assert world.mounter.mounted == {paths["v"]: (str(data), "none", ("bind", "noexec"))}
    await world.manager.unmount_pod("u1")
    assert world.mounter.mounted == {} and data.is_dir()


async def test_mount_options_that_nothing_would_do_are_refused(world: World, tmp_path: Path) -> None:
    claim(world, {"hostPath": {"path": str(tmp_path)}, "mountOptions": ["noexec"]})
    words = 'check failed for volume "v" : Mount options are not supported for this volume type'
    with pytest.raises(VolumeError, match=f"^MountVolume.MountOptionSupport {words}$"):
        await world.mount(VOLUME)


def test_a_file_system_whose_program_is_not_installed_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = tmp_path / "bin" / "mount"
    fails.parent.mkdir()
    fails.write_text("#!/bin/sh\necho bad option >&2\nexit 32\n")
    fails.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fails.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("sampan.node.volumes.mount._HELPER_PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"mount\.nfs is not installed on this node, which needs Debian's nfs-common"):
        LinuxMounter().mount("s:/", tmp_path / "t", "nfs", ())
    with pytest.raises(SetupError, match="mount failed: exit status 32: bad option"):
        LinuxMounter().mount("/dev/x", tmp_path / "t", "ext4", ())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cephfs", ": the CSI driver cephfs.csi.ceph.com does it"),
        ("iscsi", ": the CSI driver iscsi.csi.k8s.io does it"),
        ("gitRepo", ": an init container that clones into an emptyDir does it"),
        ("unheard", ""),
    ],
)
async def test_a_type_that_is_not_done_is_refused_with_what_does_it(world: World, kind: str, words: str) -> None:
    assert refusal(kind) == f'volume type "{kind}" is not supported by this node{words}'
    with pytest.raises(VolumeError, match=f'"{kind}" is not supported by this node{words}$'):
        await world.mount({"name": "v", kind: {}})


# On real devices


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where the volume's file will be."""
    if os.geteuid() != 0 or not has_loops() or shutil.which("mkfs.ext4", path="/sbin:/usr/sbin") is None:
        pytest.skip("needs root, loop devices and mkfs.ext4")
    if not may_mount(tmp_path):
        pytest.skip("this sandbox may not mount")
    return tmp_path / "local" / "pvc-1" / "disk"


def kept_devices(disk: Path) -> list[str]:
    """Of the file, also when it is removed. One that somebody else (udev, say) looks at is let go all the same."""
    found = []
    for loop in Path("/sys/block").glob("loop*/loop"):
        with contextlib.suppress(OSError):  # it goes this moment
            shown = (loop / "backing_file").read_text()
            let_go = (loop / "autoclear").read_text().strip() == "1"
            if shown.startswith(f"{os.path.realpath(disk.parents[1])}/") and not let_go:
                found.append(loop.parent.name)
    return found


def on_a_machine(disk: Path, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Its devices are gone after it whatever happens: only there the file has its name."""

    def run() -> None:
        try:
            asyncio.run(life())
        finally:
            LinuxLoops().detach(disk)

    machine(disk.parents[2], run)


def test_a_volume_that_is_a_file_holds_what_was_asked_for_and_no_more_and_keeps_it(world: World, disk: Path) -> None:
    async def life() -> None:
        source = {"local": {"path": str(disk.parent)}}
        claim(world, source, annotations=OF_FILE)
        first = manager(world, LinuxLoops(), LinuxMounter())
        path = (await first.mount_pod(pod({"name": "main"})))["v"].host_path
        (path / "kept").write_text("yes")
        with pytest.raises(OSError) as raised, (path / "filler").open("wb") as file:
            for _ in range(32):
                file.write(bytes(MIB))
                file.flush()
        assert raised.value.errno == errno.ENOSPC
        (path / "filler").unlink()
        await first.unmount_pod("u1")
        assert LinuxMounter().mounts_below(world.root) == []
        assert kept_devices(disk) == []
        claim(world, source, annotations=OF_FILE, size="64Mi")  # it has grown when the next pod begins
        second = manager(world, LinuxLoops(), LinuxMounter())
        path = (await second.mount_pod(pod({"name": "main"})))["v"].host_path
        assert (path / "kept").read_text() == "yes"
        (path / "larger").write_bytes(bytes(32 * MIB))
        await second.unmount_pod("u1")
        assert kept_devices(disk) == []

    on_a_machine(disk, life)


def test_a_device_shows_its_file_until_nobody_uses_it(world: World, disk: Path) -> None:
    async def life() -> None:
        claim(world, {"local": {"path": str(disk.parent)}}, block=True, annotations=OF_FILE)
        node = manager(world, LinuxLoops(), LinuxMounter())
        device = (await node.mount_pod(pod(DEVICE)))["v"].host_path
        assert kept_devices(disk) == [device.name]
        with device.open("r+b", buffering=0) as file:
            assert file.seek(0, os.SEEK_END) == 16 * MIB
            file.seek(0)
            file.write(b"raw" * 512)
            os.fsync(file.fileno())
        claim(world, {"local": {"path": str(device)}}, block=True)  # and so does somebody's own volume on it
        local = manager(world, LinuxLoops(), LinuxMounter())
        other = {**pod(DEVICE), "metadata": {"name": "other", "namespace": "ns", "uid": "u2"}}
        assert plan_devices(DEVICE, await local.mount_pod(other))[0].host_path == str(device)
        await local.unmount_pod("u2")
        detach_below(disk.parent / "elsewhere")
        assert LinuxLoops().of(disk) == [device]
        await node.unmount_pod("u1")
        assert kept_devices(disk) == []
        assert disk.read_bytes()[:3] == b"raw"
        # A pod that was deleted by force is still there when the provisioner asks.
        os.close(LinuxLoops().attach(disk, lasting=True)[1])
        await LocalVolumes(disk.parents[1]).remove("pvc-1")
        assert not disk.parent.exists()
        assert kept_devices(disk) == []

    on_a_machine(disk, life)


def test_a_bound_directory_has_its_options_in_the_kernels_table(world: World, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not may_mount(tmp_path):
        pytest.skip("this sandbox may not mount")

    async def life() -> None:
        data = tmp_path / "data"
        data.mkdir()
        claim(world, {"local": {"path": str(data)}, "mountOptions": ["noexec"]})
        node = manager(world, LinuxLoops(), LinuxMounter())
        for _ in range(2):
            path = (await node.mount_pod(pod({"name": "main"})))["v"].host_path
            (path / "kept").write_text("yes")
            (shown,) = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {path} " in line]
            assert "noexec" in shown.split()[5].split(",")
        await node.unmount_pod("u1")
        assert (data / "kept").read_text() == "yes"
        assert LinuxMounter().mounts_below(world.root) == []

    machine(tmp_path, lambda: asyncio.run(life()))


def test_a_blank_device_gets_a_file_system_once_and_what_is_on_one_stays(world: World, disk: Path) -> None:
    async def life() -> None:
        disk.parent.mkdir(parents=True)
        with disk.open("wb") as file:
            file.truncate(16 * MIB)
        device, descriptor = LinuxLoops().attach(disk, lasting=True)
        os.close(descriptor)
        claim(world, {"local": {"path": str(device)}, "mountOptions": ["noexec"]})
        for text in ("first", "second"):
            node = manager(world, LinuxLoops(), LinuxMounter())
            path = (await node.mount_pod(pod({"name": "main"})))["v"].host_path
            kept = path / "kept"
            assert not kept.exists() if text == "first" else kept.read_text() == "first"
            kept.write_text(text)
            (shown,) = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {path} " in line]
            assert "noexec" in shown and " - ext4 " in shown
            await node.unmount_pod("u1")
            assert LinuxMounter().mounts_below(world.root) == []
        with device.open("r+b", buffering=0) as raw:  # a partition table, as somebody else would have it
            raw.write(bytes(MIB))
            raw.seek(446)
            raw.write(bytes([0, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0]) + bytes(48) + b"\x55\xaa")
        with pytest.raises(VolumeError, match="has a partition table and no file system: it is left alone"):
            await manager(world, LinuxLoops(), LinuxMounter()).mount_pod(pod({"name": "main"}))

    on_a_machine(disk, life)


@pytest.mark.parametrize("block", [False, True], ids=["files", "device"])
async def test_a_hollow_node_has_the_driver_of_any_claim(world: World, block: bool) -> None:
    claim(world, {"csi": {"driver": "disk.example.com", "volumeHandle": "h"}}, block=block)
    mounted = await SimulatedVolumes(world.source).mount_pod(pod(DEVICE if block else {"name": "main"}))
    assert [each.block for each in mounted.values()] == [block]
