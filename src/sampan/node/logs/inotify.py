"""Waking up when something changes in a directory: one inotify descriptor for the whole process.

A kernel gives a user only 128 inotify instances, so all followers of logs share one; it is open while anybody watches.
Callers get no events, only a wake-up: they look for themselves.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MODIFY = 0x2
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_DELETE_SELF = 0x400
_MASK = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE_SELF
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatches:
    """Invariant: the descriptor is open and registered with the loop exactly while ``_wakes`` is not empty."""

    def __init__(self) -> None:
        self._fd = -1
        self._wakes: dict[int, list[asyncio.Event]] = {}

    @contextmanager
    def watch(self, directory: Path, wake: asyncio.Event) -> Iterator[None]:
        """Sets ``wake`` on each change in the directory. Raises OSError."""
        if self._fd < 0:
            self._open()
        try:
            descriptor = _check(_libc.inotify_add_watch(self._fd, os.fsencode(directory), _MASK))
        except OSError:
            self._close_if_idle()
            raise
        self._wakes.setdefault(descriptor, []).append(wake)
        try:
            yield
        finally:
            wakes = self._wakes[descriptor]
            wakes.remove(wake)
            if not wakes:
                del self._wakes[descriptor]
                _libc.inotify_rm_watch(self._fd, descriptor)
            self._close_if_idle()

    def _open(self) -> None:
        self._fd = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _close_if_idle(self) -> None:
        if not self._wakes and self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            descriptor, _, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            # -1: the kernel's queue overflowed, so anything may have changed
            lists = self._wakes.values() if descriptor == -1 else (self._wakes.get(descriptor, []),)
            for wakes in lists:
                for wake in wakes:
                    wake.set()


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
