"""subPath: binds one file or directory of a volume to a name of our own, so that nobody can swap it afterwards.

Rules of CVE-2017-1002101 and CVE-2021-25741: what is bound is the descriptor that was opened below the volume, never
a name. Synchronous, run in a thread by the manager.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sampan.node.safepath import UnsafePath, make_directories_beneath, open_beneath, open_directory
from sampan.node.volumes.mount import Mounter


def bind_subpath(volume: Path, subpath: str, target: Path, mounter: Mounter) -> Path:
    """Returns ``target``. Creates the directory when the volume has nothing there. Raises OSError, UnsafePath."""
    if subpath.startswith("/"):
        raise UnsafePath(f'error SubPath "{subpath}" must not be an absolute path')
    if ".." in subpath.split("/"):
        raise UnsafePath(f'unable to provision SubPath "{subpath}": must not contain ".."')
    root = open_directory(volume)
    try:
        try:
            source = open_beneath(root, subpath, os.O_PATH, follow=True)
        except FileNotFoundError:
            source = make_directories_beneath(root, subpath, stat.S_IMODE(os.fstat(root).st_mode))
    finally:
        os.close(root)
    try:
        _make_target(target, os.fstat(source).st_mode, mounter)
        mounter.bind(source, target)
    finally:
        os.close(source)
    return target


def _make_target(target: Path, source_mode: int, mounter: Mounter) -> None:
    """A mount point of the source's kind. What an earlier start of the container bound there is taken off."""
    mounter.unmount(target)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    is_directory = stat.S_ISDIR(source_mode)
    if target.exists() and target.is_dir() != is_directory:
        target.rmdir() if target.is_dir() else target.unlink()
    if is_directory:
        target.mkdir(exist_ok=True, mode=0o750)
    else:
        target.touch(mode=0o640)
