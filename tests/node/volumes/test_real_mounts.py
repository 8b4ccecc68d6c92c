"""The manager with real mounts: what containers would see, and that nothing is left. Needs root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.mount import LinuxMounter

World = Any  # the fixture of conftest.py


@pytest.fixture
def real(world: World, tmp_path: Path) -> Iterator[VolumeManager]:
    mounter, probe = LinuxMounter(), tmp_path / "probe"
    probe.mkdir()
    try:
        mounter.mount_tmpfs(probe, 4096)
    except PermissionError:
        pytest.skip("this sandbox may not mount")
    mounter.unmount(probe)
    clock = FixedClock(datetime(2026, 3, 1, tzinfo=UTC))
    yield VolumeManager(world.root, world.source, world.tokens, clock, mounter=mounter)
    for point in mounter.mounts_below(tmp_path):
        mounter.unmount(point)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.skipif(not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").exists(), reason="no huge pages of 2 MiB")
async def test_an_empty_dir_of_huge_pages_is_one_and_teardown_leaves_nothing(
    real: VolumeManager, tmp_path: Path
) -> None:
    asking = {"name": "c", "resources": {"limits": {"hugepages-2Mi": "4Mi"}}}
    volumes = [{"name": "h", "emptyDir": {"medium": "HugePages", "sizeLimit": "4Mi"}}]
    pod = {
        "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
        "spec": {"containers": [asking], "volumes": volumes},
    }
    for _ in range(2):  # a second time nothing is stacked
        path = (await real.mount_pod(pod))["h"].host_path
        told = os.statvfs(path)
        assert (told.f_bsize, told.f_blocks) == (2 << 20, 2)
        assert Path(path).stat().st_mode & 0o777 == 0o777
    await real.unmount_pod("u1")
    assert LinuxMounter().mounts_below(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_secret_subpath_shows_the_file_and_teardown_leaves_nothing(
    world: World, real: VolumeManager, tmp_path: Path
) -> None:
    world.add_secret("s", key="hush")
    host = tmp_path / "host"
    host.mkdir()
    (host / "precious").touch()
    pod = {
        "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
        "spec": {
            "containers": [{"name": "c"}],
            "volumes": [
                {"name": "s", "secret": {"secretName": "s"}},
                {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "h", "hostPath": {"path": str(host)}},
            ],
        },
    }
    mounts = [
        {"name": "s", "mountPath": "/key", "subPath": "key"},
        {"name": "h", "mountPath": "/host", "subPath": "."},
        {"name": "m", "mountPath": "/made", "subPath": "a/b"},
    ]
    container = {"name": "c", "volumeMounts": mounts}
    for _ in range(2):  # a second start binds again and stacks nothing
        mounted = await real.mount_pod(pod)
        found = await real.container_mounts(pod, container, mounted)
    assert Path(found[0].host_path).read_text() == "hush"
    assert found[0].readonly
    assert (Path(found[1].host_path) / "precious").exists()
    assert (mounted["m"].host_path / "a/b").is_dir()
    assert len(LinuxMounter().mounts_below(world.root)) == 5
    await real.unmount_pod("u1")
    assert LinuxMounter().mounts_below(world.root) == []
    assert not (world.root / "pods/u1").exists()
    assert (host / "precious").exists()
