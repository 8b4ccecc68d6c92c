"""mount(2) and umount2(2): the one module of the volumes that speaks to the kernel about mounts.

``LinuxMounter`` is the real one; ``DirectoryMounter`` serves hollow nodes and tests: it mounts nothing and keeps tmpfs
content in plain directories. Both are synchronous; callers run them in a thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sampan.node.volumes.errors import SetupError

_MS_NOSUID = 2
_MS_NODEV = 4
_MS_BIND = 4096
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

#: a server that does not answer
_MOUNT_SECONDS = 120.0
#: file systems that need a program of their own: the package it is in
_HELPERS = {"nfs": "Debian's nfs-common"}
_HELPER_PATH = "/sbin:/usr/sbin:/bin:/usr/bin"

_libc = ctypes.CDLL(None, use_errno=True)


class MountFault(OSError):
    operation = "mount"


class UnmountFault(OSError):
    operation = "umount"


class Mounter(Protocol):
    """All methods raise OSError."""

    def mount_tmpfs(self, target: Path, size_bytes: int | None) -> None:
        """Nothing to do when something is mounted there already."""
        ...

    def mount(self, source: str, target: Path, fs_type: str, options: Sequence[str]) -> None:
        """By mount(8), which knows what file systems need. Nothing to do when something is mounted there already.
        Raises SetupError as well."""
        ...

    def bind(self, source: int, target: Path) -> None:
        """Makes what the descriptor ``source`` is appear at ``target``, which exists and is of the same kind."""
        ...

    def unmount(self, target: Path) -> None:
        """Takes off everything mounted exactly there; not being mounted is no error. Never follows a symlink."""
        ...

    def mounts_below(self, root: Path) -> list[Path]:
        """Mount points at or below ``root``, deepest first."""
        ...


class LinuxMounter:
    def mount_tmpfs(self, target: Path, size_bytes: int | None) -> None:
        if target in self.mounts_below(target):
            return
        options = [f"size={size_bytes}"] if size_bytes else []
        try:
            _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, ",".join([*options, "noswap"]))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, ",".join(options))  # kernel before 6.4: no noswap

    def mount(self, source: str, target: Path, fs_type: str, options: Sequence[str]) -> None:
        if target in self.mounts_below(target):
            return
        listed = ("-o", ",".join(options)) if options else ()
        command = ("mount", "-t", fs_type, *listed, "--", source, str(target))
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_MOUNT_SECONDS, check=False
            )
        except FileNotFoundError:
            raise SetupError("the program mount is not installed on this node") from None
        except subprocess.TimeoutExpired:
            raise SetupError(
                f"mount -t {fs_type} of {source} did not end within {_MOUNT_SECONDS:.0f} seconds"
            ) from None
        if done.returncode != 0:
            helper = f"mount.{fs_type}"
            if fs_type in _HELPERS and shutil.which(helper, path=_HELPER_PATH) is None:
                raise SetupError(f"{helper} is not installed on this node, which needs {_HELPERS[fs_type]} for it")
            words = " ".join(done.stderr.split())[-500:]
            raise SetupError(f"mount failed: exit status {done.returncode}: {words}")

    def bind(self, source: int, target: Path) -> None:
        _mount(f"/proc/self/fd/{source}", target, None, _MS_BIND, None)

    def unmount(self, target: Path) -> None:
        while True:
            if _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW) == 0:
                continue  # mounts stack: go on until nothing is left
            code = ctypes.get_errno()
            if code in (errno.EINVAL, errno.ENOENT):  # not a mount point
                return
            if code == errno.EBUSY and _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW | _MNT_DETACH) == 0:
                continue  # someone looks at it; detached it is gone from the tree, which is what deleting needs
            raise UnmountFault(code, os.strerror(code), str(target))

    def mounts_below(self, root: Path) -> list[Path]:
        real = os.fspath(root)
        found = []
        with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123 - bytes of a kernel table, not a path's content
            for line in file:
                point = os.fsdecode(_unescape(line.split(b" ", 5)[4]))
                if point == real or point.startswith(real.rstrip("/") + "/"):
                    found.append(Path(point))
        return sorted(found, key=lambda path: len(path.parts), reverse=True)


class DirectoryMounter:
    """Mounts nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.tmpfs: dict[Path, int | None] = {}
        self.binds: dict[Path, str] = {}
        self.mounted: dict[Path, tuple[str, str, tuple[str, ...]]] = {}

    def mount_tmpfs(self, target: Path, size_bytes: int | None) -> None:
        self.tmpfs[target] = size_bytes

    def mount(self, source: str, target: Path, fs_type: str, options: Sequence[str]) -> None:
        self.mounted[target] = (source, fs_type, tuple(options))

    def bind(self, source: int, target: Path) -> None:
        self.binds[target] = str(Path(f"/proc/self/fd/{source}").readlink())

    def unmount(self, target: Path) -> None:
        self.tmpfs.pop(target, None)
        self.binds.pop(target, None)
        self.mounted.pop(target, None)

    def mounts_below(self, root: Path) -> list[Path]:
        points = [
            point for point in (*self.tmpfs, *self.binds, *self.mounted) if point == root or root in point.parents
        ]
        return sorted(points, key=lambda path: len(path.parts), reverse=True)


def _mount(source: str, target: Path, fs_type: str | None, flags: int, options: str | None) -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        fs_type.encode() if fs_type else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    if result != 0:
        code = ctypes.get_errno()
        raise MountFault(code, os.strerror(code), str(target))


def _unescape(field: bytes) -> bytes:
    """mountinfo writes space, tab, newline and backslash as three octal digits."""
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return field
