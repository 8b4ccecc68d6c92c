"""Taking a pod's volumes away without ever touching what is not ours (CVE-2017-1002102). Synchronous.

First every mount below the pod's directory is taken off, then, only when none is left, the tree is removed
(``removal``). hostPath and local volumes have nothing below the pod's directory.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from sampan.node.volumes import removal
from sampan.node.volumes.mount import Mounter


class StillMounted(OSError):
    """A mount could not be taken off; removing the tree now would delete what is mounted."""

    operation = "remove"


def remove_tree(directory: Path, mounter: Mounter) -> None:
    """Idempotent. Raises OSError."""
    for point in mounter.mounts_below(directory):
        mounter.unmount(point)
    if left := mounter.mounts_below(directory):
        raise StillMounted(errno.EBUSY, os.strerror(errno.EBUSY), str(left[0]))
    if directory.is_symlink():
        raise StillMounted(errno.ELOOP, os.strerror(errno.ELOOP), str(directory))  # nobody here makes symlinks
    removal.remove(directory)


def present_pods(root: Path) -> list[str]:
    """UIDs that have a directory."""
    try:
        return sorted(entry.name for entry in os.scandir(root / "pods") if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
