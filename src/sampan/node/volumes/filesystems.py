"""File systems of disks, by e2fsprogs' and util-linux' own programs, since they know every kernel. Synchronous.

What lacks on the node is said by its name and Debian's package.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sampan.node.volumes.errors import SetupError

DEFAULT: Final = "ext4"
_LAZY: Final = "-Elazy_itable_init=1,lazy_journal_init=1,nodiscard"
_MAKE: Final[Mapping[str, Sequence[str]]] = {
    "ext2": ("mkfs.ext2", "-q", "-F", "-m0"),
    "ext3": ("mkfs.ext3", "-q", "-F", "-m0"),
    "ext4": ("mkfs.ext4", "-q", "-F", "-m0", _LAZY),
    "xfs": ("mkfs.xfs", "-q", "-f", "-K"),
}
_PACKAGES: Final = {"mkfs.xfs": "xfsprogs", "blkid": "util-linux"}
#: making or checking a file system on a large disk
_SECONDS: Final = 600.0
#: what blkid ends with where it finds nothing
_NOTHING: Final = 2


def make(disk: Path, kind: str) -> None:
    """Whatever was on the disk is gone. Raises SetupError."""
    if kind not in _MAKE:
        raise SetupError(f'a file system of type "{kind}" cannot be made on this node: {", ".join(_MAKE)} can')
    _run(*_MAKE[kind], str(disk))


def fill(disk: Path) -> None:
    """An ext file system that is not mounted becomes as large as its disk. Raises SetupError."""
    _run("e2fsck", "-f", "-p", str(disk), good=(0, 1))
    _run("resize2fs", str(disk))


def look(disk: Path) -> str:
    """The type of the file system on it; "": it is blank. Raises SetupError, where it holds something else, too."""
    said = _run("blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", str(disk), good=(0, _NOTHING))
    found = dict(line.partition("=")[::2] for line in said.splitlines())
    if "TYPE" in found:
        return found["TYPE"]
    if "PTTYPE" in found:
        raise SetupError(f"{disk} has a partition table and no file system: it is left alone")
    return ""


def _run(*command: str, good: tuple[int, ...] = (0,)) -> str:
    """What it prints. Raises SetupError, in which the program's own words are."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except FileNotFoundError:
        package = _PACKAGES.get(command[0], "e2fsprogs")
        raise SetupError(f"{command[0]} is not installed on this node, which needs Debian's {package} for it") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"{command[0]} did not end within {_SECONDS:.0f} seconds") from None
    if done.returncode not in good:
        words = " ".join((done.stderr or done.stdout).split())[-500:]
        raise SetupError(f"{command[0]} failed: {words or f'it ended with {done.returncode}'}")
    return done.stdout
