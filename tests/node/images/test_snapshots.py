"""What is a volume's image made of: names of snapshots, mounts as containerd tells them."""

from __future__ import annotations

import pytest

from sampan.node.images import snapshots
from sampan.node.images.snapshots import SnapshotError, chain_id, parse_mount


def test_a_chain_is_named_by_its_layers() -> None:
    """By the image specification: the first is its own name, each further one is hashed with those before."""
    a, b = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    assert chain_id([a]) == a
    assert chain_id([a, b]) == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert chain_id([a, b]) != chain_id([b, a])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("mount -t bind /s/1/fs /target -o ro,rbind\n", ("bind", "/s/1/fs", ["rbind"])),
        (
            "mount -t overlay overlay /target -o index=off,lowerdir=/s/2/fs:/s/1/fs",
            ("overlay", "overlay", ["index=off", "lowerdir=/s/2/fs:/s/1/fs"]),
        ),
    ],
)
def test_a_mount_is_read(said: str, found: tuple[str, str, list[str]]) -> None:
    assert parse_mount(said) == found


@pytest.mark.parametrize("said", ["", "nothing", "mount -t overlay overlay /target", "umount -t a b c -o d"])
def test_what_is_no_mount_is_refused(said: str) -> None:
    with pytest.raises(SnapshotError, match="names no mount"):
        parse_mount(said)


def test_many_layers_fit_into_a_page() -> None:
    layers = ":".join(f"/var/lib/sampan/default/containerd/overlayfs/snapshots/{number}/fs" for number in range(127))
    folder, options = snapshots._shortened(["index=off", f"lowerdir={layers}"])
    assert folder == "/var/lib/sampan/default/containerd/overlayfs/snapshots"
    assert options[1].startswith("lowerdir=0/fs:1/fs:")
    assert len(",".join(options)) < 4096
