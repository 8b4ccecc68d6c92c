"""subPath shows what is in the volume and never what is outside it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sampan.node import safepath
from sampan.node.safepath import UnsafePath
from sampan.node.volumes.errors import VolumeError

World = Any  # the fixture of conftest.py
POD = {"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": {"containers": [{"name": "c"}]}}


async def mounts(world: World, **fields: Any) -> Any:
    pod = {**POD, "spec": {**POD["spec"], "volumes": [{"name": "v", "emptyDir": {}}]}}  # type: ignore[dict-item] # a literal
    mounted = await world.manager.mount_pod(pod)
    container = {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "data", **fields}]}
    return await world.manager.container_mounts(pod, container, mounted, {"POD": "web"})


async def test_mount_path_is_made_absolute(world: World) -> None:
    (mount,) = await mounts(world, readOnly=True, mountPropagation="HostToContainer")
    assert (mount.container_path, mount.readonly, mount.propagation) == ("/data", True, "host_to_container")


async def test_subpath_expr_is_expanded_created_and_bound(world: World) -> None:
    (mount,) = await mounts(world, subPathExpr="logs/$(POD)")
    volume = world.root / "pods/u1/volumes/kubernetes.io~empty-dir/v"
    assert (volume / "logs/web").stat().st_mode & 0o777 == 0o777
    assert mount.host_path == str(world.root / "pods/u1/volume-subpaths/v/c/0")
    assert world.mounter.binds == {Path(mount.host_path): str(volume / "logs/web")}


async def test_subpath_expr_must_be_complete(world: World) -> None:
    with pytest.raises(VolumeError, match='missing value for "NO"'):
        await mounts(world, subPathExpr="$(NO)")


@pytest.mark.parametrize("subpath", ["escape", "escape/x", "../x", "/etc", "absolute", "deep/escape"])
async def test_subpath_that_leaves_the_volume_is_refused(world: World, subpath: str) -> None:
    await mounts(world)
    volume = world.root / "pods/u1/volumes/kubernetes.io~empty-dir/v"
    (volume / "escape").symlink_to("../../../../..")
    (volume / "absolute").symlink_to("/etc")
    (volume / "deep").mkdir()
    (volume / "deep/escape").symlink_to("../../x")
    with pytest.raises(VolumeError) as caught:
        await mounts(world, subPath=subpath)
    assert str(caught.value) == 'failed to prepare subPath for volumeMount "v" of container "c"'
    assert world.mounter.binds == {}


def test_symlink_inside_the_volume_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/key").write_text("v")
    (tmp_path / "key").symlink_to("..data/key")
    assert safepath.read_regular(tmp_path, "key", 10) == b"v"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("fifo", "link", "."):
        with pytest.raises(UnsafePath):
            safepath.open_regular(tmp_path, name)


def test_the_walk_without_openat2_refuses_symlinks_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("x")
    (tmp_path / "link").symlink_to("a")
    root = safepath.open_directory(tmp_path)
    try:
        os.close(safepath._walk_beneath(root, "a/file", os.O_RDONLY))
        for path in ("link", "link/file", "../x"):
            with pytest.raises((UnsafePath, NotADirectoryError)):
                safepath._walk_beneath(root, path, os.O_RDONLY)
    finally:
        os.close(root)


def test_directory_swapped_for_a_symlink_is_never_left(tmp_path: Path) -> None:
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    (outside / "sub").mkdir(parents=True)
    (volume / "dir/sub").mkdir(parents=True)
    (volume / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (volume / "dir").rename(volume / "aside")
            (volume / "link").rename(volume / "dir")
            (volume / "dir").rename(volume / "link")
            (volume / "aside").rename(volume / "dir")

    forbidden = (outside / "sub").stat().st_ino
    root, swapper = safepath.open_directory(volume), threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(500):
            try:
                fd = safepath.open_beneath(root, "dir/sub", os.O_PATH, follow=True)
            except (UnsafePath, OSError):
                continue
            assert os.fstat(fd).st_ino != forbidden
            os.close(fd)
    finally:
        stop.set()
        swapper.join()
        os.close(root)
