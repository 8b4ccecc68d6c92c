"""Opening paths that a container may have written, without ever leaving the directory they belong to.

Used for subPath, log files and env files. The kernel does the work where it can (openat2, RESOLVE_BENEATH), so a
container that swaps a directory for a symlink between check and use gains nothing (CVE-2017-1002101, CVE-2021-25741).
Callers get file descriptors, which they own, never names.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_AT_RETRIES = 32

_libc = ctypes.CDLL(None, use_errno=True)


class UnsafePath(Exception):
    """The path leaves its directory, or is not of the kind it must be."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: str, flags: int, *, follow: bool) -> int:
    """A descriptor of ``path`` below the directory ``root`` (a descriptor).

    ``follow``: relative symlinks that stay below are followed (a ConfigMap volume is made of them); otherwise any
    symlink is refused. Raises UnsafePath, or OSError as open does.
    """
    how = _OpenHow(
        flags | os.O_CLOEXEC,
        0,
        _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | (0 if follow else _RESOLVE_NO_SYMLINKS),
    )
    for _ in range(_AT_RETRIES):
        fd = int(
            _libc.syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(root),
                ctypes.c_char_p(os.fsencode(path)),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        )
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code == errno.EAGAIN:  # something was renamed meanwhile: the kernel asks us to try again
            continue
        if code in (errno.ENOSYS, errno.EPERM):  # kernel before 5.6, or a seccomp filter that does not know it
            return _walk_beneath(root, path, flags)
        if code in (errno.EXDEV, errno.ELOOP):
            raise UnsafePath(f'path "{path}" leaves its directory')
        raise OSError(code, os.strerror(code), path)
    raise UnsafePath(f'path "{path}" keeps changing')


def _walk_beneath(root: int, path: str, flags: int) -> int:
    """The slow way, component by component; refuses every symlink, also those that stay below."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafePath(f'path "{path}" leaves its directory')
    current = os.dup(root)
    try:
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            want = (flags if last else os.O_PATH | os.O_DIRECTORY) | os.O_NOFOLLOW | os.O_CLOEXEC
            following = os.open(part, want, dir_fd=current)
            os.close(current)
            current = following
            if stat.S_ISLNK(os.fstat(current).st_mode):
                raise UnsafePath(f'path "{path}" contains a symlink')
    except OSError as error:
        os.close(current)
        if error.errno == errno.ELOOP:
            raise UnsafePath(f'path "{path}" contains a symlink') from error
        raise
    except UnsafePath:
        os.close(current)
        raise
    return current


def open_directory(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_regular(root: Path, path: str, *, follow: bool = False) -> int:
    """A readable descriptor of the regular file ``path`` below ``root``. Raises UnsafePath, OSError."""
    directory = open_directory(root)
    try:
        # O_NONBLOCK: a FIFO in the place of the file must not hang us.
        fd = open_beneath(directory, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, follow=follow)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnsafePath(f'"{path}" is not a regular file')
    return fd


def read_regular(root: Path, path: str, limit_bytes: int) -> bytes:
    """The content of a file below ``root``. Raises ValueError when it is larger, UnsafePath, OSError."""
    with os.fdopen(open_regular(root, path, follow=True), "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f'"{path}" is larger than {limit_bytes} bytes')
    return data


def make_directories_beneath(root: int, path: str, mode: int) -> int:
    """Creates what is missing of the directory ``path``; returns a descriptor of the last. Raises UnsafePath, OSError.

    Existing components may be symlinks that stay below; created ones are made in the directory that was opened, so
    nothing can be slipped in between.
    """
    current = os.dup(root)
    done: list[str] = []
    try:
        for part in (part for part in path.split("/") if part not in ("", ".")):
            if part == "..":
                raise UnsafePath(f'path "{path}" leaves its directory')
            done.append(part)
            try:
                following = open_beneath(root, "/".join(done), os.O_PATH | os.O_DIRECTORY, follow=True)
            except FileNotFoundError:
                try:
                    os.mkdir(part, 0o700, dir_fd=current)
                except FileExistsError:
                    pass  # another container of the pod was faster, or it is a dangling symlink: the open decides
                following = open_beneath(current, part, os.O_RDONLY | os.O_DIRECTORY, follow=False)
                os.fchmod(following, mode)  # past the umask
            os.close(current)
            current = following
    except (OSError, UnsafePath):
        os.close(current)
        raise
    return current
