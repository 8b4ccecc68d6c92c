"""Copies of disks: shared blocks where the file system can (reflink), else the written parts, one after the other.

Blocks, within a time that is given: belongs into a thread. A mounted disk is frozen while it is copied, so that a copy
is one moment of it, and thawed whatever happens; ``thaw`` also undoes what a crash of the driver left frozen.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_FICLONE: Final = 0x40049409
_FIFREEZE: Final = 0xC0045877
_FITHAW: Final = 0xC0045878
_PIECE_BYTES: Final = 8 << 20
_TELL_SECONDS: Final = 10.0
_NO_CLONE: Final = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.ETXTBSY)


class TooSlow(Exception):
    """The copy was not done in time; nothing of it is left."""


class Stopped(Exception):
    """The driver ends; nothing of the copy is left."""


def clone(source: Path, target: Path) -> bool:
    """Shares the blocks; False: the file system cannot. Raises OSError."""
    with source.open("rb") as old, target.open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError as error:
            if error.errno in _NO_CLONE:
                return False
            raise
    return True


def copy(source: Path, target: Path, seconds: float, stops: Callable[[], bool] = lambda: False) -> None:
    """What is written of it; holes stay holes. ``stops`` is asked again and again. Raises OSError, TooSlow, Stopped."""
    began = told = time.monotonic()
    with source.open("rb") as old, target.open("wb") as new:
        size, done = os.fstat(old.fileno()).st_size, 0
        os.truncate(new.fileno(), size)
        for start, end in _written(old.fileno(), size):
            at = start
            while at < end:
                moved = os.copy_file_range(old.fileno(), new.fileno(), min(end - at, _PIECE_BYTES), at, at)
                if not moved:
                    break
                at, done = at + moved, done + moved
                now = time.monotonic()
                if stops():
                    raise Stopped("the driver ends before the copy is whole")
                if now - began > seconds:
                    raise TooSlow(f"{done >> 20} MiB were copied in {seconds:.0f} seconds, and that was not all")
                if now - told > _TELL_SECONDS:
                    told = now
                    log.info("copying %s: %d of at most %d MiB", source.parent.name, done >> 20, size >> 20)


def _written(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # only a hole is left
            raise
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at


@contextmanager
def frozen(mounts: Iterable[Path]) -> Iterator[None]:
    """All that is written is on the disk, and nothing is written inside. Raises OSError."""
    with ExitStack() as stack:
        for mount in mounts:
            descriptor = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            fcntl.ioctl(descriptor, _FIFREEZE, 0)
            stack.callback(fcntl.ioctl, descriptor, _FITHAW, 0)
        yield


def thaw(mount: Path) -> bool:
    """Whether it was frozen."""
    descriptor = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _FITHAW, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
