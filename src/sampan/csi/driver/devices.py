"""Loop devices, file systems and mounts of this machine: the driver's one module that runs programs for them.

By util-linux' and e2fsprogs' own programs, since they know every kernel. Each has a deadline. What lacks (a program in
the image, loop devices in the kernel) is said by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from sampan.api.faults import fault
from sampan.csi.driver.attributes import Tuning
from sampan.csi.server import Refusal
from sampan.records import dataclass

_SECONDS: Final = 60.0
#: making a file system on a large disk, and growing one
_LONG_SECONDS: Final = 600.0
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_LONGEST_WORDS: Final = 1000
#: where the superblock of ext2 to ext4 is, which is as long
_SUPERBLOCK: Final = 1024
_TRIES: Final = 8
#: linux/loop.h: a loop_info64 begins with the device and the inode of its file
_SET_STATUS, _GET_STATUS, _STATUS_BYTES, _FLAGS_AT, _AUTOCLEAR = 0x4C04, 0x4C05, 232, 52, 4
_EXT_MAGIC: Final = b"\x53\xef"

#: how a file system is made, and made to fill its device again ({} is the device, or for xfs where it is mounted)
_MAKE: Final = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m0", "-Elazy_itable_init=1,lazy_journal_init=1,nodiscard"],
    "ext3": ["mkfs.ext3", "-q", "-F", "-m0"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
}
FILESYSTEMS: Final = tuple(_MAKE)


class DeviceError(Refusal):
    """A call fails with it; the words are for whoever looks after the machine."""

    def __init__(self, words: str) -> None:
        super().__init__("INTERNAL", words)


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo: ``device`` as ``major:minor``; ``root`` is what of its file system is mounted there."""

    device: str
    root: str
    target: Path
    read_only: bool


class Devices(Protocol):
    """All raise DeviceError."""

    async def loop_of(self, disk: Path) -> str | None:
        """The device that the file is attached to."""
        ...

    async def attach(self, disk: Path) -> str: ...

    async def detach(self, device: str) -> None: ...

    def hold(self, device: str, disk: Path) -> int | None:
        """A descriptor, with which the device goes on showing the file, and beyond it until it is detached. None: it
        does not show it, or no more. Blocks."""
        ...

    async def resize(self, device: str) -> None:
        """The file has grown: so does the device."""
        ...

    async def tune(self, device: str, tuning: Tuning) -> None:
        """As a volume's attributes want it. Nothing, when it is so. Raises Refusal: the kernel cannot."""
        ...

    async def format(self, device: str, filesystem: str) -> None: ...

    async def grow_filesystem(self, device: str, filesystem: str, mounted_at: Path) -> None:
        """While it is used. Nothing, when it fills its device."""
        ...

    async def grow_unmounted(self, device: str, filesystem: str) -> None:
        """Nothing, when it fills its device, or grows only while it is mounted (xfs)."""
        ...

    async def mount(self, device: str, target: Path, filesystem: str, options: list[str]) -> None: ...

    async def bind(self, source: Path, target: Path, *, read_only: bool) -> None: ...

    async def unmount(self, target: Path) -> None: ...

    def ailment(self, device: str) -> str:
        """What its file system has noted of faults in itself; "": none, or it notes none. Blocks."""
        ...

    def mounts(self) -> list[Mount]: ...

    def number(self, device: str) -> str:
        """``major:minor`` of a device."""
        ...


class LinuxDevices:
    def __init__(self) -> None:
        #: what was read ahead on devices before they were tuned
        self._usual: dict[str, int] = {}

    async def loop_of(self, disk: Path) -> str | None:
        said = await _run("losetup", "--noheadings", "--output", "NAME", "--associated", str(disk))
        return said.split()[0] if said.strip() else None

    async def attach(self, disk: Path) -> str:
        if not Path("/dev/loop-control").exists():
            raise DeviceError("this machine has no loop devices: /dev/loop-control is missing (kernel module loop)")
        return (await _run("losetup", "--find", "--show", str(disk))).strip()

    async def detach(self, device: str) -> None:
        await _run("losetup", "--detach", device)

    def hold(self, device: str, disk: Path) -> int | None:
        try:
            descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return None
            raise DeviceError(fault(error, "open")) from None
        try:
            if _keeps(descriptor, disk):
                return descriptor
        except OSError:
            pass  # it shows nothing
        os.close(descriptor)
        return None

    async def resize(self, device: str) -> None:
        await _run("losetup", "--set-capacity", device)

    async def tune(self, device: str, tuning: Tuning) -> None:
        ahead, direct = await asyncio.to_thread(_tuned, Path("/sys/block") / Path(device).name)
        if direct is not tuning.direct_io:
            try:
                await _run("losetup", f"--direct-io={'on' if tuning.direct_io else 'off'}", device)
            except DeviceError as error:
                if "Invalid argument" not in error.details:
                    raise
                raise Refusal("INVALID_ARGUMENT", "the kernel has no direct I/O for this volume's file") from None
        wanted = tuning.read_ahead_kib
        if wanted is None:
            wanted = self._usual.pop(device, ahead)
        else:
            self._usual.setdefault(device, ahead)
        if wanted != ahead:
            await _run("blockdev", "--setra", str(wanted * 2), device)

    async def format(self, device: str, filesystem: str) -> None:
        await _run(*_MAKE[filesystem], device, seconds=_LONG_SECONDS)

    async def grow_filesystem(self, device: str, filesystem: str, mounted_at: Path) -> None:
        if filesystem == "xfs":
            await _run("xfs_growfs", str(mounted_at), seconds=_LONG_SECONDS)
        elif not await asyncio.to_thread(_fills, device):
            try:
                await _run("resize2fs", device, seconds=_LONG_SECONDS)
            except DeviceError as error:
                if "Permission denied" not in error.details:
                    raise
                words = "the kernel lets an ext4 file system grow under its pods only with CAP_SYS_RESOURCE, which the "
                raise DeviceError(
                    f"{words}driver does not have: it grows when its pods have ended and begin anew"
                ) from None

    async def grow_unmounted(self, device: str, filesystem: str) -> None:
        if filesystem == "xfs" or await asyncio.to_thread(_fills, device):
            return
        await _run("e2fsck", "-f", "-p", device, seconds=_LONG_SECONDS, good=(0, 1))
        await _run("resize2fs", device, seconds=_LONG_SECONDS)

    async def mount(self, device: str, target: Path, filesystem: str, options: list[str]) -> None:
        # Copies of an xfs have its UUID, and are mounted beside it.
        wanted = [*options, *(["nouuid"] if filesystem == "xfs" else [])]
        await _run("mount", "-t", filesystem, *(["-o", ",".join(wanted)] if wanted else []), device, str(target))

    async def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        await _run("mount", "--bind", str(source), str(target))
        if read_only:
            try:
                await _run("mount", "-o", "remount,bind,ro", str(target))
            except DeviceError:
                await self.unmount(target)
                raise

    async def unmount(self, target: Path) -> None:
        await _run("umount", "--no-canonicalize", str(target))

    def ailment(self, device: str) -> str:
        notes = Path("/sys/fs/ext4") / Path(device).name
        try:
            count = int((notes / "errors_count").read_text())
            last = (notes / "last_error_func").read_text().strip() if count else ""
        except (OSError, ValueError):
            return ""  # another file system, or none
        return f"ext4 has noted {count} errors, the last in {last or 'a place unknown'}" if count else ""

    def mounts(self) -> list[Mount]:
        with Path("/proc/self/mountinfo").open(errors="surrogateescape") as file:
            return [mount for line in file if (mount := parse_mount(line)) is not None]

    def number(self, device: str) -> str:
        try:
            status = Path(device).stat()
        except OSError as error:
            raise DeviceError(f"{device}: {os.strerror(error.errno or 0)}") from None
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def parse_mount(line: str) -> Mount | None:
    """Pure."""
    fields = line.split(" ")
    if len(fields) < 7:
        return None
    target = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
    return Mount(fields[2], fields[3], Path(target), "ro" in fields[5].split(","))


@asynccontextmanager
async def attached(devices: Devices, disk: Path) -> AsyncIterator[str]:
    """The file's device, which is its own meanwhile: the kernel gives the name of one that is let go to whoever asks
    next. Raises DeviceError."""
    for _ in range(_TRIES):
        device = await devices.loop_of(disk) or await devices.attach(disk)
        held = await asyncio.to_thread(devices.hold, device, disk)
        if held is not None:
            try:
                yield device
            finally:
                os.close(held)
            return
    raise DeviceError(f"{disk} loses its device as soon as it has one")


async def detached(devices: Devices, device: str, disk: Path) -> None:
    """Unless the device is another file's by now. Raises DeviceError."""
    held = await asyncio.to_thread(devices.hold, device, disk)
    if held is None:
        return
    try:
        await devices.detach(device)
    finally:
        os.close(held)


def _keeps(descriptor: int, disk: Path) -> bool:
    """Whether the device shows the file. One that was detached while somebody looked at it does not go any more.
    Raises OSError."""
    told = bytearray(fcntl.ioctl(descriptor, _GET_STATUS, bytes(_STATUS_BYTES)))
    status = disk.stat()
    if struct.unpack_from("=QQ", told) != (status.st_dev, status.st_ino):
        return False
    (flags,) = struct.unpack_from("=I", told, _FLAGS_AT)
    if flags & _AUTOCLEAR:
        struct.pack_into("=I", told, _FLAGS_AT, flags & ~_AUTOCLEAR)
        fcntl.ioctl(descriptor, _SET_STATUS, bytes(told))
    return True


def _tuned(block: Path) -> tuple[int, bool]:
    """What is read ahead (KiB), and whether past the page cache. Raises DeviceError."""
    try:
        read_ahead = int((block / "queue/read_ahead_kb").read_text())
        return read_ahead, (block / "loop/dio").read_text().strip() == "1"
    except (OSError, ValueError) as error:
        raise DeviceError(f"{block}: {error}") from None


def _fills(device: str) -> bool:
    """Whether an ext file system is as long as its device, by its superblock."""
    try:
        with Path(device).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(_SUPERBLOCK)
            block = file.read(_SUPERBLOCK)
    except OSError as error:
        raise DeviceError(f"{device}: {os.strerror(error.errno or 0)}") from None
    if block[0x38:0x3A] != _EXT_MAGIC:
        raise DeviceError(f"{device} holds no ext file system")
    low, log_size, high = (int.from_bytes(block[at : at + 4], "little") for at in (0x4, 0x18, 0x150))
    unit = 1024 << min(log_size, 16)
    return ((high << 32 | low) + 1) * unit > size


async def _run(*command: str, seconds: float = _SECONDS, good: tuple[int, ...] = (0,)) -> str:
    """What it prints. Raises DeviceError when it does not end with one of ``good``."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise DeviceError(f"{command[0]} is not installed where the driver runs") from None
    try:
        async with asyncio.timeout(seconds):
            printed, complaint = await process.communicate()
    except TimeoutError:
        raise DeviceError(f"{command[0]} did not end within {seconds:.0f} seconds") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode not in good:
        words = complaint.decode(errors="replace").strip()[:_LONGEST_WORDS]
        raise DeviceError(f"{command[0]} failed: {words or f'it ended with {process.returncode}'}")
    return printed.decode(errors="replace")
