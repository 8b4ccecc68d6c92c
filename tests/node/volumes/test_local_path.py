"""Volumes of Sampan's own provisioner: made when first mounted, kept for the next pod, removed following no link."""

from __future__ import annotations

import asyncio
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from sampan.api.errors import BadRequest, InternalError
from sampan.node.volumes.localpath import LocalVolumes
from sampan.node.volumes.mount import DirectoryMounter

World = Any  # the fixture of conftest.py


def provision(world: World, path: Path, name: str = "pvc-1", **annotations: str) -> None:
    meta = {"name": "c", "namespace": "ns", "uid": "u"}
    world.source.claims["c"] = {"metadata": meta, "spec": {"volumeName": name}, "status": {"phase": "Bound"}}
    made = annotations or {"pv.kubernetes.io/provisioned-by": "sampan.io/local-path"}
    spec = {"local": {"path": str(path)}, "claimRef": {"uid": "u"}, "volumeMode": "Filesystem"}
    world.source.volumes[name] = {"metadata": {"name": name, "annotations": made}, "spec": spec}


VOLUME = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}


async def test_the_directory_is_made_once_for_whoever_the_pods_run_as_and_keeps_its_data(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "root" / "pvc-1"
    provision(world, path)
    assert await world.mount(VOLUME) == {"v": path}
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (path / "data").write_text("kept")
    path.chmod(0o750)
    await world.manager.unmount_pod("u1")
    assert await world.mount(VOLUME) == {"v": path}
    assert (path / "data").read_text() == "kept"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750, "its users' mode stays"


async def test_a_directory_that_others_say_is_there_is_not_made(world: World, tmp_path: Path) -> None:
    provision(world, tmp_path / "no", **{"pv.kubernetes.io/provisioned-by": "example.com/other"})
    with pytest.raises(Exception, match="is not a directory"):
        await world.mount(VOLUME)


async def test_a_directory_that_has_not_its_volumes_name_is_not_made(world: World, tmp_path: Path) -> None:
    """Whoever writes the provisioner's annotation on a volume of his own."""
    provision(world, tmp_path / "etc" / "anything")
    with pytest.raises(Exception, match="is not a directory"):
        await world.mount(VOLUME)
    assert not (tmp_path / "etc").exists()


async def test_removing_takes_all_of_it_and_nothing_that_it_points_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    directory = tmp_path / "root" / "pvc-1"
    (directory / "deep" / "er").mkdir(parents=True)
    (directory / "link").symlink_to(outside)
    local = LocalVolumes(tmp_path / "root", DirectoryMounter())
    await local.remove("pvc-1")
    await local.remove("pvc-1")
    assert (outside / "precious").read_text() == "x"
    assert list((tmp_path / "root").iterdir()) == []


async def test_a_volume_that_is_a_link_is_not_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "precious").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "pvc-1").symlink_to(outside)
    with pytest.raises(InternalError):
        await LocalVolumes(tmp_path / "root", DirectoryMounter()).remove("pvc-1")
    assert (outside / "precious").is_dir()


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../a", ".removing-x", "A", "x" * 254, "a\n"])
async def test_only_names_of_volumes_are_taken(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadRequest):
        await LocalVolumes(tmp_path, DirectoryMounter()).remove(name)


async def test_what_a_crash_left_is_taken_away_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / ".removing-pvc-1" / "x").mkdir(parents=True)
    (tmp_path / "pvc-2").mkdir()
    await LocalVolumes(tmp_path, DirectoryMounter()).sweep()
    await LocalVolumes(tmp_path / "no", DirectoryMounter()).sweep()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pvc-2"]


async def test_two_who_ask_at_once_are_both_answered_when_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "pvc-1" / "x").mkdir(parents=True)
    local = LocalVolumes(tmp_path, DirectoryMounter())
    await asyncio.gather(local.remove("pvc-1"), local.remove("pvc-1"))
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_that_a_crash_left_unfinished_is_finished(world: World, tmp_path: Path) -> None:
    path = tmp_path / "root" / "pvc-1"
    path.mkdir(parents=True, mode=0)
    path.chmod(0)
    provision(world, path)
    assert await world.mount(VOLUME) == {"v": path}
    assert stat.S_IMODE(path.stat().st_mode) == 0o777


async def test_mounts_inside_are_taken_off_though_the_root_is_reached_by_a_link(tmp_path: Path) -> None:
    """The kernel names mounts by the real path: one that is not found would be emptied with the directory."""
    (tmp_path / "disk" / "pvc-1" / "inside").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    mounter = DirectoryMounter()
    mounter.binds[tmp_path / "disk" / "pvc-1" / "inside"] = "/precious"
    await LocalVolumes(tmp_path / "root", mounter).remove("pvc-1")
    assert not mounter.binds and not (tmp_path / "disk" / "pvc-1").exists()


async def test_a_root_that_cannot_be_read_is_told_and_keeps_nobody_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    await LocalVolumes(tmp_path / "file", DirectoryMounter()).sweep()
    assert "not a directory" in caplog.text


class Slow(DirectoryMounter):
    """Looks at mounts only when it is let, and notes who else is there."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may, self.inside, self.most = threading.Event(), threading.Event(), 0, 0

    def mounts_below(self, root: Path) -> list[Path]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.set()
        self.may.wait()
        self.inside -= 1
        return []


async def test_who_asks_again_after_giving_up_waits_for_the_removal_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "pvc-1" / "x").mkdir(parents=True)
    mounter = Slow()
    local = LocalVolumes(tmp_path, mounter)
    first = asyncio.ensure_future(local.remove("pvc-1"))
    await asyncio.to_thread(mounter.begun.wait)
    mounter.begun.clear()
    first.cancel()
    second = asyncio.ensure_future(local.remove("pvc-1"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done() and not mounter.begun.is_set()
    mounter.may.set()
    await second
    assert first.cancelled() and mounter.most == 1 and list(tmp_path.iterdir()) == []
