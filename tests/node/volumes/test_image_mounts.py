"""Mounts of images, with the kernel: what a runtime makes of their flags changes nothing for those who share them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from volume_killing import machine, may_mount

from sampan.node.images.snapshots import mount_read_only


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_the_only_layer_of_an_image_stays_as_it_is_whoever_mounts_it_with_other_flags(tmp_path: Path) -> None:
    """Runtimes that are told ``rw`` take a mount's own flags off (runc since 1.2)."""
    if not may_mount(tmp_path):
        pytest.skip("this sandbox may not mount")

    def life() -> None:
        layer, target, seen = tmp_path / "snapshots/1/fs", tmp_path / "node, a:b/mount", tmp_path / "container"
        for each in (layer, target, seen):
            each.mkdir(parents=True)
        (layer / "file").write_text("of all")
        mount_read_only("bind", str(layer), ["rbind"], target)
        subprocess.run(["mount", "--bind", str(target), str(seen)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,rw", str(seen)], check=True)
        assert (seen / "file").read_text() == "of all"
        for change in ((seen / "file").write_text, (seen / "new").write_text):
            with pytest.raises(OSError, match="Read-only file system"):
                change("of one")
        assert [each.name for each in layer.iterdir()] == ["file"]

    machine(tmp_path, life)
