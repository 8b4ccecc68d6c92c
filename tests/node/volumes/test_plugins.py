"""Volume plug-ins: what was begun is recorded and undone, wherever a crash comes; threads keep their pod's lock."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.resources import CONFIG_MAPS
from sampan.api.types import Obj
from sampan.node.env.sources import ObjectRef
from sampan.node.volumes import lanes, layout, records
from sampan.node.volumes.emptydir import page_bytes
from sampan.node.volumes.errors import VolumeError
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.mount import DirectoryMounter
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.plugins import BUILT_IN
from sampan.node.volumes.records import DamagedRecord, Record

World = Any  # the fixture of conftest.py
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Crash(Exception):
    """The agent is gone: nothing that would come after happens."""


@dataclass
class Disk:
    """What attached disks would look like on a node: the machine's state, which outlives the agent."""

    staged: set[str] = field(default_factory=set)
    published: set[Path] = field(default_factory=set)
    size: int = 10
    expanded: list[int] = field(default_factory=list)
    #: effects until the crash; None: never
    left: int | None = None

    def effect(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Crash
            self.left -= 1


class DiskPlugin(VolumePlugin[Prepared]):
    """Staged once a node, bound once a pod: what a CSI driver's volumes are like."""

    name = "example.com/disk"

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    async def prepare(self, volume: Obj, context: Context) -> Prepared:
        return Prepared(stage_id=volume["disk"]["id"], size_bytes=self.disk.size, data={"id": volume["disk"]["id"]})

    def stage(self, prepared: Prepared, place: Place) -> None:
        self.disk.effect()
        self.disk.staged.add(prepared.stage_id)
        self.disk.effect()

    def publish(self, prepared: Prepared, place: Place) -> Path:
        assert prepared.stage_id in self.disk.staged
        assert place.staged is not None
        assert place.staged.is_dir()
        place.target.mkdir(parents=True, exist_ok=True)
        self.disk.effect()
        self.disk.published.add(place.target)
        self.disk.effect()
        return place.target

    def expand(self, prepared: Prepared, place: Place) -> None:
        self.disk.effect()
        self.disk.expanded.append(prepared.size_bytes or 0)

    def unpublish(self, record: Record, place: Place) -> None:
        self.disk.effect()
        self.disk.published.discard(place.target)
        self.disk.effect()

    def unstage(self, record: Record, place: Place) -> None:
        assert not self.disk.published
        self.disk.effect()
        self.disk.staged.discard(record.data["id"])
        self.disk.effect()


def agent(world: World, disk: Disk) -> VolumeManager:
    """The agent as it is after a start: it knows what is on disk, and nothing else."""
    plugins = {**BUILT_IN, "disk": DiskPlugin(disk)}
    return VolumeManager(
        world.root, world.source, world.tokens, FixedClock(NOW), mounter=world.mounter, plugins=plugins
    )


def pod(uid: str, *volumes: Obj) -> Obj:
    meta = {"name": uid, "namespace": "ns", "uid": uid}
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}], "volumes": list(volumes)}}


DISK = {"name": "d", "disk": {"id": "disk-1"}}
SCRATCH = {"name": "s", "emptyDir": {"medium": "Memory"}}


@pytest.mark.parametrize("effects", range(8))
async def test_whatever_a_crash_leaves_is_taken_away_after_the_next_start(world: World, effects: int) -> None:
    disk = Disk(left=effects)
    manager = agent(world, disk)
    crashed = False
    try:
        await manager.mount_pod(pod("u1", SCRATCH, DISK))
        await manager.unmount_pod("u1")
    except Crash:
        crashed = True
    assert crashed == (effects < 8), "every effect of a whole life is a place to crash at"
    disk.left = None
    after = agent(world, disk)
    await after.cleanup_orphans(set())
    assert (disk.staged, disk.published, world.mounter.tmpfs) == (set(), set(), {})
    assert not [path for folder in ("pods", "volumes") for path in (world.root / folder).glob("*")]


@pytest.mark.parametrize("effects", range(4))
async def test_a_mount_that_a_crash_cut_short_is_completed(world: World, effects: int) -> None:
    disk = Disk(left=effects)
    with pytest.raises(Crash):
        await agent(world, disk).mount_pod(pod("u1", DISK))
    disk.left = None
    after = agent(world, disk)
    assert await after.cleanup_orphans({"u1"}) == []
    mounted = await after.mount_pod(pod("u1", DISK))
    assert disk.published == {mounted["d"].host_path}


async def test_a_volume_of_two_pods_is_staged_until_the_last_has_gone_also_after_a_restart(world: World) -> None:
    disk = Disk()
    manager = agent(world, disk)
    for uid in ("u1", "u2"):
        await manager.mount_pod(pod(uid, DISK))
    await manager.unmount_pod("u1")
    assert disk.staged == {"disk-1"}
    restarted = agent(world, disk)
    await restarted.cleanup_orphans({"u2"})
    assert disk.staged == {"disk-1"}
    await restarted.unmount_pod("u2")
    assert disk.staged == set()


async def test_a_volume_that_is_to_be_larger_is_expanded_once(world: World) -> None:
    disk = Disk()
    manager = agent(world, disk)
    await manager.mount_pod(pod("u1", DISK))
    disk.size = 20
    await manager.mount_pod(pod("u1", DISK))
    await manager.mount_pod(pod("u1", DISK))
    assert disk.expanded == [20]


async def test_an_expansion_that_a_crash_cut_short_is_done_again(world: World) -> None:
    disk = Disk()
    await agent(world, disk).mount_pod(pod("u1", DISK))
    disk.size, disk.left = 20, 4  # stage and publish anew, and not the expansion
    with pytest.raises(Crash):
        await agent(world, disk).mount_pod(pod("u1", DISK))
    disk.left = None
    await agent(world, disk).mount_pod(pod("u1", DISK))
    assert disk.expanded == [20]


async def test_a_host_path_is_never_taken_off(world: World, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "precious").touch()
    world.mounter.tmpfs[host] = None  # the machine's own mount
    await world.mount({"name": "h", "hostPath": {"path": str(host)}})
    await world.manager.unmount_pod("u1")
    assert (host / "precious").exists()
    assert host in world.mounter.tmpfs


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"version":9}', b'{"version":1,"plugin":7}', b"\xff" * 70_000])
async def test_a_damaged_record_is_told_and_its_volume_taken_away(
    world: World, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = (await world.mount(SCRATCH))["s"]
    record = layout.record(world.root, "u1", "s")
    record.write_bytes(text)
    with pytest.raises(DamagedRecord):
        records.read(record)
    with caplog.at_level(logging.WARNING):
        await world.manager.unmount_pod("u1")
    assert str(record) in caplog.text
    assert path not in world.mounter.tmpfs
    assert not (world.root / "pods/u1").exists()


async def test_a_record_of_a_plug_in_that_is_gone_keeps_no_pod(world: World, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    await agent(world, disk).mount_pod(pod("u1", DISK))
    with caplog.at_level(logging.WARNING):
        await world.manager.unmount_pod("u1")
    assert "example.com/disk" in caplog.text
    assert not (world.root / "pods/u1").exists()


def test_a_record_is_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"{}")
    (tmp_path / "r.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"symbolic links|Too many levels"):
        records.read(tmp_path / "r.json")


async def test_types_of_persistent_volumes_are_none_of_pods(world: World) -> None:
    with pytest.raises(VolumeError, match='volume type "local" is not supported'):
        await world.mount({"name": "v", "local": {"path": "/"}})


def huge(medium: str, *sizes: str) -> Obj:
    found = pod("u1", {"name": "v", "emptyDir": {"medium": medium}})
    found["spec"]["containers"] = [
        {"name": f"c{index}", "resources": {"limits": {f"hugepages-{size}": size}}} for index, size in enumerate(sizes)
    ]
    return found


@pytest.mark.parametrize(
    ("medium", "sizes", "expected"),
    [("HugePages", ["2Mi"], 2 << 20), ("HugePages-1Gi", ["2Mi", "1Gi"], 1 << 30), ("HugePages-2Mi", ["2Mi"], 2 << 20)],
)
def test_an_empty_dir_is_of_the_huge_pages_that_its_pod_asks_for(medium: str, sizes: list[str], expected: int) -> None:
    assert page_bytes(medium, huge(medium, *sizes)) == expected


@pytest.mark.parametrize(
    ("medium", "sizes", "words"),
    [
        ("HugePages", ["2Mi", "1Gi"], "medium HugePages can't be used if container requests multiple huge page sizes"),
        ("HugePages", [], "hugepages storage requested, but there is no resource request for huge pages"),
        ("HugePages-1Gi", ["2Mi"], "hugepages storage requested, but there is no resource request for huge pages"),
        ("HugePages-big", ["2Mi"], 'unsupported storage medium "HugePages-big"'),
    ],
)
async def test_huge_pages_that_the_pod_does_not_ask_for_are_no_medium(
    world: World, medium: str, sizes: list[str], words: str
) -> None:
    manager = VolumeManager(world.root, world.source, world.tokens, FixedClock(NOW), mounter=DirectoryMounter())
    with pytest.raises(VolumeError, match=words):
        await manager.mount_pod(huge(medium, *sizes))


class SlowMounter(DirectoryMounter):
    """Its mounts take until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def mount_tmpfs(self, target: Path, size_bytes: int | None) -> None:
        self.begun.set()
        assert self.go.wait(10)
        super().mount_tmpfs(target, size_bytes)


async def test_a_mount_whose_caller_is_gone_still_comes_before_the_unmount(world: World) -> None:
    mounter = SlowMounter()
    manager = VolumeManager(world.root, world.source, world.tokens, FixedClock(NOW), mounter=mounter)
    mounting = asyncio.create_task(manager.mount_pod(pod("u1", SCRATCH)))
    await asyncio.to_thread(mounter.begun.wait, 10)
    mounting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mounting
    unmounting = asyncio.create_task(manager.unmount_pod("u1"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not unmounting.done(), "the thread that mounts has the pod's lock"
    mounter.go.set()
    await unmounting
    assert mounter.tmpfs == {}
    assert not (world.root / "pods/u1").exists()
    assert len(manager._locks) == 0


async def test_a_failure_after_its_caller_has_gone_lets_the_next_one_in(world: World) -> None:
    mounter = SlowMounter()
    manager = VolumeManager(world.root, world.source, world.tokens, FixedClock(NOW), mounter=mounter)
    mounting = asyncio.create_task(manager.mount_pod(pod("u1", SCRATCH)))
    await asyncio.to_thread(mounter.begun.wait, 10)
    mounting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mounting
    directory = layout.volume_directory(world.root, "u1", "kubernetes.io~empty-dir", "s")
    directory.rmdir()  # what comes after the mount fails
    mounter.go.set()
    await manager.mount_pod(pod("u1", SCRATCH))
    assert list(mounter.tmpfs) == [directory]


class HungPlugin(VolumePlugin[Prepared]):
    """Of a path that does not answer until it is let go."""

    name = "example.com/hung"

    def __init__(self) -> None:
        self.free, self.begun = threading.Event(), threading.Semaphore(0)

    async def prepare(self, volume: Obj, context: Context) -> Prepared:
        return Prepared()

    def publish(self, prepared: Prepared, place: Place) -> Path:
        self.begun.release()
        self.free.wait()
        return place.target


async def test_paths_that_hang_take_no_thread_of_the_nodes_own(world: World) -> None:
    """However many there are: the node goes on writing its pods' files, and looking at what runs."""
    hung = HungPlugin()
    manager = VolumeManager(
        world.root, world.source, world.tokens, world.clock, mounter=world.mounter, plugins={**BUILT_IN, "hung": hung}
    )
    pods = [
        {"metadata": {"name": "p", "namespace": "ns", "uid": f"u{n}"}, "spec": {"containers": [], "volumes": [volume]}}
        for n, volume in enumerate([{"name": "v", "hung": {}}] * 40)
    ]
    waiting = [asyncio.ensure_future(manager.mount_pod(each)) for each in pods]
    try:
        for _ in range(8):
            while not hung.begun.acquire(blocking=False):  # noqa: ASYNC110 (a thread tells it)
                await asyncio.sleep(0.005)
        # Waits for ever where those that hang have every thread.
        assert await asyncio.to_thread(lambda: "here") == "here"
    finally:
        hung.free.set()
    await asyncio.gather(*waiting)


async def test_a_pod_whose_path_hangs_keeps_no_other_from_being_refreshed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.node.volumes.manager._PATIENCE_SECONDS", 0.1)
    hung = HungPlugin()
    manager = VolumeManager(
        world.root, world.source, world.tokens, world.clock, mounter=world.mounter, plugins={**BUILT_IN, "hung": hung}
    )
    config = {"name": "c", "configMap": {"name": "cm"}}
    world.add_config_map("cm", a="1")
    hung.free.set()
    await manager.mount_pod(pod("u1", config, {"name": "v", "hung": {}}))
    path = (await manager.mount_pod(pod("u2", config)))["c"].host_path
    hung.free.clear()
    world.add_config_map("cm", a="2")
    manager.object_changed(ObjectRef(CONFIG_MAPS, "ns", "cm"))
    try:
        async with asyncio.timeout(30):
            await manager.refresh_due()
            while (path / "a").read_text() != "2":  # noqa: ASYNC110 (a thread writes it)
                await asyncio.sleep(0.005)
    finally:
        hung.free.set()
    async with asyncio.timeout(30):
        while manager._refreshing:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class FaultyPlugin(HungPlugin):
    faulty = False

    async def prepare(self, volume: Obj, context: Context) -> Prepared:
        if self.faulty:
            raise ZeroDivisionError
        return Prepared()


@pytest.mark.logs_errors("refresh of volumes of pod u1")
async def test_a_fault_in_a_refresh_is_its_pods_alone_and_is_not_repeated_at_once(world: World) -> None:
    plugin = FaultyPlugin()
    plugin.free.set()
    manager = VolumeManager(
        world.root, world.source, world.tokens, world.clock, mounter=world.mounter, plugins={**BUILT_IN, "hung": plugin}
    )
    faulty = pod("u1", {"name": "v", "hung": {}})
    await manager.mount_pod(faulty)
    plugin.faulty = True
    manager.pod_changed(faulty)
    await manager.refresh_due()
    assert 0 < (manager._seconds_until_due() or 0) <= 60


async def test_paths_that_hang_keep_no_pod_without_such_paths_from_starting_or_ending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, begun = threading.Event(), threading.Semaphore(0)

    def check(path: Path, kind: str) -> None:
        begun.release()
        free.wait()

    monkeypatch.setattr("sampan.node.volumes.hostpath.check_host_path", check)
    world.add_config_map("cm", a="1")
    hung = [pod(f"u{n}", {"name": "v", "hostPath": {"path": "/mnt"}}) for n in range(8)]
    waiting = [asyncio.ensure_future(world.manager.mount_pod(each)) for each in hung]
    try:
        async with asyncio.timeout(30):
            for _ in range(8):
                while not begun.acquire(blocking=False):  # noqa: ASYNC110 (a thread tells it)
                    await asyncio.sleep(0.005)
            other = await world.manager.mount_pod(pod("other", {"name": "c", "configMap": {"name": "cm"}}))
            assert (other["c"].host_path / "a").read_text() == "1"
            await world.manager.unmount_pod("other")
    finally:
        free.set()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize(
    ("names", "lane"),
    [([], ""), (["", ""], ""), ([lanes.PATHS, ""], lanes.PATHS), (["", lanes.PATHS, "a.example"], "a.example")],
)
def test_a_pod_waits_among_those_of_its_driver_first(names: list[str], lane: str) -> None:
    assert lanes.of_pod(names) == lane
