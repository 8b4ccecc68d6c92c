"""Volumes follow their sources, and go away without touching anything that is not theirs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan.api import resources
from sampan.node.env.sources import ObjectRef
from sampan.node.volumes import atomic, mount
from sampan.node.volumes.errors import SetupError

World = Any  # the fixture of conftest.py
CONFIG = {"name": "v", "configMap": {"name": "cm"}}
TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}}


async def test_changed_config_map_is_rewritten_by_one_switch(world: World) -> None:
    world.add_config_map("cm", a="1", gone="x")
    path = (await world.mount(CONFIG))["v"]
    before = (path / "..data").readlink()
    world.add_config_map("cm", a="2")
    world.manager.object_changed(ObjectRef(resources.CONFIG_MAPS, "ns", "cm"))
    await world.manager.refresh_due()
    assert not (path / "gone").is_symlink()
    assert (path / "a").read_text() == "2"
    assert not (path / before).exists()


async def test_token_is_renewed_when_due_and_not_before(world: World) -> None:
    path = (await world.mount(TOKEN))["t"]
    await world.manager.refresh_due()
    assert (path / "token").read_text() == "token-1"
    world.clock.set(world.clock.now() + timedelta(seconds=481))
    await world.manager.refresh_due()
    assert (path / "token").read_text() == "token-2"


async def test_the_loop_sleeps_until_the_next_token_is_due(world: World) -> None:
    assert world.manager._seconds_until_due() is None
    await world.mount(TOKEN)
    assert world.manager._seconds_until_due() == 480.0


async def test_failed_refresh_is_tried_again_later(world: World) -> None:
    world.add_config_map("cm", a="1")
    await world.mount(CONFIG)
    world.source.config_maps.clear()
    world.manager.object_changed(ObjectRef(resources.CONFIG_MAPS, "ns", "cm"))
    await world.manager.refresh_due()
    assert 59 < world.manager._seconds_until_due() <= 60


async def test_unchanged_payload_is_not_written_again(world: World) -> None:
    world.add_config_map("cm", a="1")
    path = (await world.mount(CONFIG))["v"]
    before = (path / "..data").readlink()
    await world.mount(CONFIG)
    assert (path / "..data").readlink() == before


@pytest.mark.parametrize("path", ["", "/abs", "a/../b", "..data", "..x"])
def test_payload_path_may_not_leave_or_imitate(tmp_path: Path, path: str) -> None:
    with pytest.raises(SetupError):
        atomic.check_path(path)


async def test_unmount_does_not_follow_symlinks(world: World, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "precious").touch()
    path = (await world.mount({"name": "v", "emptyDir": {}}))["v"]
    (path / "link").symlink_to(host)
    await world.manager.unmount_pod("u1")
    assert (host / "precious").exists()
    assert not (world.root / "pods/u1").exists()


async def test_orphans_are_removed_and_known_pods_kept(world: World) -> None:
    for uid in ("known", "orphan"):
        (world.root / "pods" / uid / "volumes").mkdir(parents=True)
    assert await world.manager.cleanup_orphans({"known"}) == ["orphan"]
    assert [entry.name for entry in (world.root / "pods").iterdir()] == ["known"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_linux_mounter_mounts_binds_and_unmounts(tmp_path: Path) -> None:
    mounter = mount.LinuxMounter()
    target, bound = tmp_path / "tmp fs", tmp_path / "bound"
    target.mkdir()
    bound.mkdir()
    try:
        mounter.mount_tmpfs(target, 1 << 20)
    except PermissionError:
        pytest.skip("this sandbox may not mount")
    try:
        mounter.mount_tmpfs(target, 1 << 20)
        (target / "file").write_text("x")
        fd = os.open(target, os.O_PATH)
        mounter.bind(fd, bound)
        os.close(fd)
        assert (bound / "file").read_text() == "x"
        assert set(mounter.mounts_below(tmp_path)) == {target, bound}
    finally:
        mounter.unmount(bound)
        mounter.unmount(target)
    assert mounter.mounts_below(tmp_path) == []
    mounter.unmount(target)


@pytest.mark.parametrize("name", ["b\0", "b/" + "x" * 300])
def test_a_write_that_fails_leaves_nothing_however_often_it_is_tried(tmp_path: Path, name: str) -> None:
    payload = {"a": atomic.ProjectedFile(b"much", 0o644), name: atomic.ProjectedFile(b"", 0o644)}
    for _ in range(3):
        with pytest.raises((OSError, ValueError)):
            atomic.write_payload(tmp_path, payload, datetime(2026, 1, 1, tzinfo=UTC))
    assert list(tmp_path.iterdir()) == []
