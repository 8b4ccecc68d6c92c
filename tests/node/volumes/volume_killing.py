"""Processes that are killed at a chosen effect, in a mount namespace of their own, so that nothing of them is left.

``machine`` runs a function in a forked process with private mounts; inside it ``agent`` runs one life of an agent,
which ends by SIGKILL right before its n-th effect: an opening of a file to write, a rename, a removal, a mount ...
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sampan.node.volumes.loops import LinuxLoops
from sampan.node.volumes.mount import LinuxMounter

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 16384, 1 << 18
_EFFECTS = frozenset(
    {
        "os.mkdir",
        "os.rmdir",
        "os.remove",
        "os.rename",
        "os.chmod",
        "os.chown",
        "os.symlink",
        "os.link",
        "os.truncate",
        "fcntl.ioctl",
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_libc = ctypes.CDLL(None, use_errno=True)


class Effects:
    """Counts, and kills its own process before the effect number ``last`` (from 1); None: never. With ``mounts`` it
    counts from that mount or unmount on."""

    def __init__(self, last: int | None = None, mounts: int = 0) -> None:
        self.count = self.mounts = 0
        self._last, self._from = last, mounts

    def happens(self, *, mount: bool = False) -> None:
        self.mounts += mount
        if self.mounts >= self._from:
            self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in _EFFECTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING):
            self.happens()


class CountedMounter(LinuxMounter):
    """Mounts and unmounts are effects."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def mount_tmpfs(self, target: Path, size_bytes: int | None) -> None:
        self._effects.happens(mount=True)
        super().mount_tmpfs(target, size_bytes)

    def bind(self, source: int, target: Path) -> None:
        self._effects.happens(mount=True)
        super().bind(source, target)

    def unmount(self, target: Path) -> None:
        self._effects.happens(mount=True)
        super().unmount(target)


def agent(life: Callable[[CountedMounter], None], effects: Effects) -> tuple[int, int]:
    """How many effects a life had, and how many of them were mounts; none: it was killed before the last one."""
    reading, writing = os.pipe()

    def run() -> None:
        sys.addaudithook(effects.audit)
        life(CountedMounter(effects))
        os.write(writing, b"%d %d" % (effects.count, effects.mounts))

    code, fault = _forked(run)
    os.close(writing)
    said = os.read(reading, 64).split()
    os.close(reading)
    assert code in (0, -signal.SIGKILL), fault
    return (int(said[0]), int(said[1])) if said else (0, 0)


def machine(home: Path, work: Callable[[], None]) -> None:
    """Runs it with mounts that nobody else sees, ``home`` in memory. Raises AssertionError with what went wrong."""

    def run() -> None:
        if _libc.unshare(_CLONE_NEWNS) or _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None):
            raise OSError(ctypes.get_errno(), "this sandbox may not mount")
        LinuxMounter().mount_tmpfs(home, None)
        work()

    code, fault = _forked(run)
    assert code == 0, fault


def may_mount(home: Path) -> bool:
    try:
        machine(home, lambda: None)
    except AssertionError:
        return False
    return True


@cache
def has_loops() -> bool:
    """Whether this machine gives loop devices to this process."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(1 << 20)
        try:
            _, descriptor = LinuxLoops().attach(Path(file.name), lasting=False)
        except OSError:
            return False
        os.close(descriptor)
        return True


def _forked(work: Callable[[], None]) -> tuple[int, str]:
    """Its exit code, or the negative number of the signal that ended it; and what it raised."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        gc.freeze()  # what it inherits stays shared: looking through it would copy it
        try:
            work()
        except BaseException:  # the process has no other way to tell, and must not return into pytest
            os.write(writing, traceback.format_exc().encode()[-60_000:])
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        fault = pipe.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), fault
