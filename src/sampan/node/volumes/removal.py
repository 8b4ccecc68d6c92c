"""Removes a tree that pods may have filled: however deep it is, with a few descriptors and no recursion.

Each directory is moved out of the tree, to its top, before it is emptied: depth costs nothing, and what somebody mounts
late, by the path of old, is not reached. A mount point cannot be moved, and another file system is not entered, so that
neither is ever emptied. No symlink is followed. Synchronous.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: names that are read at a time
_NAMES: Final = 4096


def remove(directory: Path) -> None:
    """What is not there is removed. Raises OSError; the next call goes on."""
    try:
        top = os.open(directory, _FLAGS)
    except FileNotFoundError:
        return
    try:
        _Removal(top).run()
    finally:
        os.close(top)
    directory.rmdir()


class _Removal:
    def __init__(self, top: int) -> None:
        self._top = top
        self._device = os.fstat(top).st_dev
        self._prefix = f".gone-{secrets.token_hex(8)}-"
        self._numbers = itertools.count()

    def run(self) -> None:
        while names := _names(self._top):
            for name, is_directory in names:
                with contextlib.suppress(FileNotFoundError):  # somebody else removes too
                    if not is_directory:
                        os.unlink(name, dir_fd=self._top)
                    elif name.startswith(self._prefix):
                        self._empty(name)
                    else:
                        self._empty(self._lift(self._top, name))

    def _lift(self, parent: int, name: str) -> str:
        """Its name at the top."""
        new = f"{self._prefix}{next(self._numbers)}"
        os.rename(name, new, src_dir_fd=parent, dst_dir_fd=self._top)
        return new

    def _empty(self, name: str) -> None:
        """Files of a directory at the top; its directories are at the top then."""
        descriptor = os.open(name, _FLAGS, dir_fd=self._top)
        try:
            if os.fstat(descriptor).st_dev != self._device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
            while names := _names(descriptor):
                for each, is_directory in names:
                    with contextlib.suppress(FileNotFoundError):
                        if is_directory:
                            self._lift(descriptor, each)
                        else:
                            os.unlink(each, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=self._top)


def _names(directory: int) -> list[tuple[str, bool]]:
    """Some of what is in it, each with whether it is a directory."""
    with os.scandir(directory) as entries:
        return [(each.name, each.is_dir(follow_symlinks=False)) for each in itertools.islice(entries, _NAMES)]
