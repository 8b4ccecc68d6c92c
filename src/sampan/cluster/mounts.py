"""Mounts of an instance's directories, by libc: the kubelet's is shared with pods; all go before the files do."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
from pathlib import Path

from sampan.cluster.errors import ClusterError

MNT_DETACH = 2
#: linux/loop.h; a loop_info64 begins with the device and the inode of its file
_LOOP_CLR_FD, _LOOP_GET_STATUS64, _STATUS_BYTES = 0x4C01, 0x4C05, 232
_MS_BIND, _MS_REC, _MS_SHARED = 4096, 16384, 1 << 20


def mount_points(below: Path) -> list[str]:
    """Mount points at or below a directory, innermost first (proc(5), mountinfo)."""
    prefix = str(below)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4].encode().decode("unicode_escape")
        if place == prefix or place.startswith(prefix + "/"):
            found.append(place)
    return sorted(found, key=len, reverse=True)


def is_shared(directory: Path) -> bool:
    """Whether what is mounted below it is seen by everybody who has it mounted (the optional fields of mountinfo)."""
    best, shared = "", False
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        place = fields[4].encode().decode("unicode_escape")
        if directory.is_relative_to(place) and len(place) >= len(best):
            best, shared = place, any(each.startswith("shared:") for each in fields[6 : fields.index("-")])
    return shared


def share(directory: Path) -> None:
    """Makes a directory a mount of its own that is shared, unless it lies on one that is: drivers in pods mount volumes
    below the kubelet's directory, and the node has to see them. As ``mount --make-rshared`` does; it stays until
    ``unmount_below``, and takes the mounts below it along. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    if is_shared(directory):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.fsencode(directory)
    for source, flags in ((place, _MS_BIND | _MS_REC), (None, _MS_SHARED | _MS_REC)):
        if libc.mount(source, place, None, ctypes.c_ulong(flags), None) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(directory))


def unmount_below(directory: Path) -> None:
    """Detaches every mount at or below a directory. Raises ClusterError when one cannot be detached."""
    libc = ctypes.CDLL(None, use_errno=True)
    while places := mount_points(directory):
        # A mount that lies below another at its place is reached once that has gone: then it goes in the next round.
        gone, refused = 0, ""
        for place in places:
            if libc.umount2(os.fsencode(place), MNT_DETACH) == 0:
                gone += 1
            else:
                refused = refused or f"cannot unmount {place}: {os.strerror(ctypes.get_errno())}"
        if not gone and mount_points(directory):
            raise ClusterError(refused, fix="end what uses it and try again")


def detach_loops_of(directory: Path) -> None:
    """Takes the files of volumes off their loop devices. The kernel names the file of a driver in a pod as it is called
    there, and one below a mount that has been detached from that mount on, so that they are known by their inodes. A
    device that is in use goes when it is let go."""
    used = list(Path("/sys/block").glob("loop*/loop/backing_file"))
    if not used or not directory.is_dir():
        return
    inodes = {(each.stat().st_dev, each.stat().st_ino) for each in directory.rglob("*") if each.is_file()}
    for path in used:
        with contextlib.suppress(OSError), Path("/dev", path.parent.parent.name).open("rb") as device:
            told = fcntl.ioctl(device.fileno(), _LOOP_GET_STATUS64, bytes(_STATUS_BYTES))
            if struct.unpack_from("=QQ", told) in inodes:
                fcntl.ioctl(device.fileno(), _LOOP_CLR_FD)
