"""Loop devices: files as block devices. The one module of the volumes that asks the kernel for them. Synchronous.

``LinuxLoops`` is the real one. A device is found again by the file it shows, so nothing about it has to be recorded.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

_CONTROL: Final = Path("/dev/loop-control")
_GET_FREE, _CONFIGURE, _CLEAR, _SET_CAPACITY = 0x4C82, 0x4C0A, 0x4C01, 0x4C07
_AUTOCLEAR: Final = 4
_NAME_BYTES: Final = 64
#: linux/loop.h: struct loop_config, with its loop_info64
_CONFIG: Final = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
_TRIES: Final = 16


class LoopFault(OSError):
    operation = "loop"


class Loops(Protocol):
    """All raise OSError."""

    def attach(self, disk: Path, *, lasting: bool) -> tuple[Path, int]:
        """The file's device, and a descriptor of it, which the caller closes. Unless ``lasting`` it goes by itself when
        nobody has it open or mounted."""
        ...

    def of(self, disk: Path) -> list[Path]:
        """The devices that show the file."""
        ...

    def detach(self, disk: Path) -> None:
        """All of them. A device that is in use goes when its last user does."""
        ...

    def resize(self, device: Path) -> None:
        """It becomes as large as its file."""
        ...


class LinuxLoops:
    def attach(self, disk: Path, *, lasting: bool) -> tuple[Path, int]:
        try:
            control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise LoopFault(error.errno, os.strerror(error.errno or 0), str(_CONTROL)) from error
        backing = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(_TRIES):
                device = Path(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}")
                descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(descriptor, _CONFIGURE, _config(backing, disk, 0 if lasting else _AUTOCLEAR))
                except OSError as error:
                    os.close(descriptor)
                    if error.errno != errno.EBUSY:  # somebody else was given it
                        raise LoopFault(error.errno, os.strerror(error.errno or 0), str(device)) from error
                else:
                    return device, descriptor
            raise LoopFault(errno.EBUSY, os.strerror(errno.EBUSY), str(_CONTROL))
        finally:
            os.close(backing)
            os.close(control)

    def of(self, disk: Path) -> list[Path]:
        wanted = os.path.realpath(disk)
        return [device for device, shown in _attached() if shown == wanted]

    def detach(self, disk: Path) -> None:
        for device in self.of(disk):
            _detach(device)

    def resize(self, device: Path) -> None:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _SET_CAPACITY)
        finally:
            os.close(descriptor)


def detach_below(directory: Path) -> None:
    """Every device whose file is below the directory: before the files go. Raises OSError."""
    start = f"{os.path.realpath(directory)}/"
    for device, shown in _attached():
        if shown.startswith(start):
            _detach(device)


def _attached() -> Iterator[tuple[Path, str]]:
    """Devices with the names of their files, as they are named here."""
    for named in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            yield Path("/dev") / named.parts[-3], os.fsdecode(named.read_bytes().removesuffix(b"\n"))
        except OSError:
            continue  # it was detached meanwhile


def _detach(device: Path) -> None:
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _CLEAR)
    except OSError as error:
        if error.errno != errno.ENXIO:  # it was detached meanwhile
            raise LoopFault(error.errno, os.strerror(error.errno or 0), str(device)) from error
    finally:
        os.close(descriptor)


def _config(backing: int, disk: Path, flags: int) -> bytes:
    name = os.fsencode(disk)[: _NAME_BYTES - 1]
    none = (0,) * 8
    return _CONFIG.pack(backing, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, name, b"", b"", 0, 0, *none)
