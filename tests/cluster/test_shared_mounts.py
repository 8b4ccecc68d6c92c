"""The kubelet's directory as a mount that is shared with pods, and how all of it goes again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.cluster import mounts


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """On a mount that is not shared."""
    base = tmp_path / "base"
    base.mkdir()
    done = subprocess.run(["mount", "--bind", str(base), str(base)], capture_output=True, check=False)
    if os.geteuid() != 0 or done.returncode != 0:
        pytest.skip("needs the right to mount")
    subprocess.run(["mount", "--make-private", str(base)], check=True)
    yield base / "kubelet"
    mounts.unmount_below(base)


def test_a_directory_is_shared_once_and_takes_its_mounts_along(place: Path) -> None:
    (place / "pods").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place / "pods")], check=True)
    (place / "pods" / "file").touch()
    assert not mounts.is_shared(place)
    for _ in range(2):
        mounts.share(place)
    assert mounts.is_shared(place) and (place / "pods" / "file").exists()
    assert mounts.mount_points(place).count(str(place)) == 1
    mounts.unmount_below(place)
    assert not mounts.mount_points(place) and not list((place / "pods").iterdir())
