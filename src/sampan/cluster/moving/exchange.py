"""Putting a directory in another's place in one step, so that no crash leaves neither (renameat2(2)), with nobody at
work in the one that goes, and into a name that loses nothing."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sampan.store.sqlite.files import StoreDirectory, StoreMissing

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def unused(directory: Path) -> Iterator[None]:
    """Holds a SQLite store's lock, where there is one. A server that is a unit of its own has no supervisor that tells
    of it: its writes would go into the store that is put aside. Raises StoreUnavailable: it is open."""
    try:
        opened = StoreDirectory(directory, create=False)
    except StoreMissing:
        yield
        return
    try:
        yield
    finally:
        opened.close()


def free_name(path: Path) -> Path:
    """``path``, or where that is taken ``path.2`` and so on: what an earlier one kept aside stays."""
    names = (path if n == 1 else path.with_name(f"{path.name}.{n}") for n in count(1))
    return next(name for name in names if not os.path.lexists(name))


def put_in_place(made: Path, place: Path, aside: Path) -> bool:
    """``made`` is at ``place`` then, and what was there ``aside``, where nothing may be. False: there was nothing.

    On a file system that cannot exchange, a crash between the two steps leaves the old one ``aside``. Raises OSError.
    """
    if not place.exists():
        made.rename(place)
        _sync(place.parent)
        return False
    if _exchange(made, place):
        made.rename(aside)
    else:
        place.rename(aside)
        made.rename(place)
    _sync(place.parent)
    return True


def _exchange(one: Path, other: Path) -> bool:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
