"""Trees of pods go whatever is in them, and what is not theirs stays."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from volume_killing import machine, may_mount

from sampan.node.volumes import removal
from sampan.node.volumes.mount import DirectoryMounter, LinuxMounter
from sampan.node.volumes.ownership import Ownership, set_ownership
from sampan.node.volumes.teardown import remove_tree


def deepen(top: Path, levels: int) -> None:
    """With a file at the bottom."""
    at = os.open(top, os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def test_a_tree_that_is_deeper_than_any_path_is_removed_with_a_few_descriptors(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    (pod / "volumes").mkdir(parents=True)
    deepen(pod / "volumes", 1500)
    remove_tree(pod, DirectoryMounter())
    assert not pod.exists()


def test_a_tree_that_is_deeper_than_a_walk_is_not_given_to_a_group_and_that_is_said(tmp_path: Path) -> None:
    deepen(tmp_path, 1500)
    with pytest.raises(OSError) as caught:
        set_ownership(tmp_path, Ownership(os.getgid()))
    assert caught.value.errno in (errno.ENAMETOOLONG, errno.EMFILE)  # as many files as this process may have
    for path in tmp_path.iterdir():
        removal.remove(path)


def test_many_names_and_links_and_odd_files_go_and_what_links_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_NAMES", 8)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    pod = tmp_path / "pod"
    for directory in (pod, pod / "a", pod / "a" / "b"):
        directory.mkdir()
        (directory / "link").symlink_to(kept)
        os.mkfifo(directory / "pipe")
        (directory / "shut").mkdir()
        (directory / "shut").chmod(stat.S_IRWXU if os.geteuid() else 0)
    for number in range(50):
        (pod / "a" / str(number)).touch()
    removal.remove(pod)
    removal.remove(pod)
    assert not pod.exists() and (kept / "file").exists()


def test_what_is_mounted_when_everything_was_thought_to_be_off_is_not_emptied(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not may_mount(tmp_path):
        pytest.skip("this sandbox may not mount")

    def run() -> None:
        for kind in ("bind", "tmpfs"):
            pod, data = tmp_path / f"pod-{kind}", tmp_path / f"data-{kind}"
            target = pod / "volumes" / "v" / "mount"
            target.mkdir(parents=True)
            data.mkdir()
            mounter = LinuxMounter()
            if kind == "bind":
                source = os.open(data, os.O_PATH)
                mounter.bind(source, target)
                os.close(source)
            else:
                mounter.mount_tmpfs(target, 1 << 20)
            (target / "precious").write_text("data")
            with pytest.raises(OSError):  # busy, or of another device
                removal.remove(pod)
            (place,) = mounter.mounts_below(pod)
            assert (place / "precious").read_text() == "data"
            mounter.unmount(place)
            removal.remove(pod)
            assert not pod.exists()

    machine(tmp_path, run)
