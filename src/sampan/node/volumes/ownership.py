"""fsGroup: giving a volume's files to the pod's group (upstream pkg/volume SetVolumeOwnership). Synchronous."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from sampan.api.types import Obj
from sampan.node.env.sources import all_containers
from sampan.records import dataclass

_READ_WRITE = 0o660
_READ_ONLY = 0o440
_DIRECTORY = 0o110 | stat.S_ISGID


@dataclass(frozen=True, slots=True)
class Ownership:
    """``fs_user`` is the user that all containers run as, when there is one such: owner of token files."""

    fs_group: int | None = None
    on_root_mismatch: bool = False
    fs_user: int | None = None


def pod_ownership(pod: Obj) -> Ownership:
    context = pod["spec"].get("securityContext") or {}
    users = {
        (container.get("securityContext") or {}).get("runAsUser", context.get("runAsUser"))
        for container in all_containers(pod)
    }
    user = users.pop() if len(users) == 1 else None
    return Ownership(context.get("fsGroup"), context.get("fsGroupChangePolicy") == "OnRootMismatch", user)


def set_ownership(root: Path, ownership: Ownership, *, read_only: bool = False) -> None:
    """Gives everything at and below ``root`` to the group; symlinks are neither followed nor changed. Raises OSError;
    of trees that are deeper than a walk goes, ENAMETOOLONG."""
    if ownership.fs_group is None:
        return
    if ownership.on_root_mismatch and _matches(root, ownership.fs_group, read_only):
        return
    # Depth first and the root last: the root's ownership says that all below is done (OnRootMismatch after a crash).
    try:
        for _, directories, files, fd in os.fwalk(root, topdown=False, follow_symlinks=False):
            for name in (*files, *directories):
                _change(name, ownership.fs_group, read_only, fd)
    except RecursionError:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(root)) from None
    _change(str(root), ownership.fs_group, read_only, None)


def _change(name: str, group: int, read_only: bool, directory: int | None) -> None:
    """Opens first and changes what was opened: a container cannot slip in a symlink to a file of the host."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return  # the volume is in use; what went away needs no owner
    try:
        status = os.fstat(fd)
        if stat.S_ISLNK(status.st_mode):
            return
        mode, itself = _wanted(status.st_mode, read_only), f"/proc/self/fd/{fd}"
        if status.st_gid != group:
            os.chown(itself, -1, group)
        elif stat.S_IMODE(status.st_mode) == mode:
            return
        os.chmod(itself, mode)  # noqa: PTH101 - after chown, which takes setgid away
    finally:
        os.close(fd)


def _wanted(mode: int, read_only: bool) -> int:
    mask = _READ_ONLY if read_only else _READ_WRITE
    if stat.S_ISDIR(mode):
        mask |= _DIRECTORY
    return stat.S_IMODE(mode) | mask


def _matches(root: Path, group: int, read_only: bool) -> bool:
    status = root.lstat()
    return status.st_gid == group and stat.S_IMODE(status.st_mode) == _wanted(status.st_mode, read_only)
