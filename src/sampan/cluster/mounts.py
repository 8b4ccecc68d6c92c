"""Unmounting below a directory, by libc: what is left of an instance must go before its files do."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from sampan.cluster.errors import ClusterError

MNT_DETACH = 2


def mount_points(below: Path) -> list[str]:
    """Mount points at or below a directory, innermost first (proc(5), mountinfo)."""
    prefix = str(below)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4].encode().decode("unicode_escape")
        if place == prefix or place.startswith(prefix + "/"):
            found.append(place)
    return sorted(found, key=len, reverse=True)


def unmount_below(directory: Path) -> None:
    """Detaches every mount at or below a directory. Raises ClusterError when one cannot be detached."""
    libc = ctypes.CDLL(None, use_errno=True)
    for place in mount_points(directory):
        if libc.umount2(os.fsencode(place), MNT_DETACH) != 0:
            reason = os.strerror(ctypes.get_errno())
            if place in mount_points(directory):
                raise ClusterError(f"cannot unmount {place}: {reason}", fix="end what uses it and try again")
