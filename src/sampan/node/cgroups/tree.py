"""The machine's cgroup hierarchies as directories: version 1, hybrid (counts as 1) and 2. Blocking; used in threads.

Paths are those of CRI (``/sampan-default/burstable/pod<uid>``), the same in every hierarchy. What the kernel refuses
(no controller, no delegation) is told once in the log, and the pod runs without that limit of the whole: its containers
have theirs from the runtime.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from sampan.api.faults import cause
from sampan.node.cgroups import held
from sampan.node.cgroups.held import Held
from sampan.node.cgroups.settings import Settings

log = logging.getLogger(__name__)

_V1_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "blkio", "devices", "freezer", "cpuacct", "hugetlb")
_V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")
_WARNINGS_LIMIT = 100


class CgroupTree:
    def __init__(self, mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._mount = mount
        self.unified = (mount / "cgroup.controllers").exists()
        self._warned: set[str] = set()

    @property
    def bounds_hugepages(self) -> bool:
        if not self.unified:
            return (self._mount / "hugetlb").is_dir()
        try:
            return "hugetlb" in (self._mount / "cgroup.controllers").read_text().split()
        except OSError:
            return False

    def make(self, path: str, settings: Settings) -> None:
        """The cgroup in every hierarchy, with ``settings`` written into it. Idempotent."""
        if self.unified:
            self._delegate(path)
            self._write(self._mount / path.lstrip("/"), {k: v for each in settings.values() for k, v in each.items()})
            return
        for controller in _V1_CONTROLLERS:
            base = self._mount / controller
            if not base.is_dir():
                continue
            directory = base / path.lstrip("/")
            try:
                _make_v1(base, directory)
            except OSError as error:
                self._warn(f"{controller}: {cause(error)}")
                continue
            self._write(directory, settings.get(controller, {}))

    def write(self, path: str, settings: Settings) -> None:
        """Into a cgroup that is there."""
        for controller, values in settings.items():
            base = self._mount if self.unified else self._mount / controller
            if base.is_dir():
                self._write(base / path.lstrip("/"), values)

    def rewrite(self, path: str, settings: Settings) -> None:
        """As ``write``, but what the kernel refuses is an error. Raises OSError."""
        for controller, values in settings.items():
            directory = (self._mount if self.unified else self._mount / controller) / path.lstrip("/")
            for name, value in values.items():
                (directory / name).write_text(value)

    def held(self, path: str) -> Held | None:
        return held.read(self._mount, path, unified=self.unified)

    def remove(self, path: str, *, kill: bool = False) -> bool:
        """The cgroup and all below it, in every hierarchy; False when something of it is left.

        ``kill``: processes in it have no right to live any more.
        """
        if kill:
            self._kill(path)
        gone = True
        for directory in self._directories(path):
            # rmdir takes a cgroup as it is: its files are the kernel's. Children first.
            for item in sorted((*_below(directory), directory), key=lambda item: -len(item.parts)):
                try:
                    item.rmdir()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    gone = False
                    log.debug("cgroup %s: %s", item, cause(error))
        return gone

    def memory_working_set(self, path: str) -> int | None:
        """Bytes in use below a cgroup, less what the kernel could drop at once; None: not counted here."""
        folder = self._folder("memory", path)
        used = _number(folder / ("memory.current" if self.unified else "memory.usage_in_bytes"))
        if used is None:
            return None
        name = "inactive_file" if self.unified else "total_inactive_file"
        try:
            lines = (folder / "memory.stat").read_text().splitlines()
        except OSError:
            return used
        inactive = next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
        return max(used - inactive, 0)

    def tasks(self, path: str) -> int:
        """Processes and threads below a cgroup; 0 when they are not counted."""
        return _number(self._folder("pids", path) / "pids.current") or 0

    def _folder(self, controller: str, path: str) -> Path:
        return (self._mount if self.unified else self._mount / controller) / path.lstrip("/")

    def children(self, path: str) -> set[str]:
        """Names of the cgroups directly below ``path``, of all hierarchies together."""
        found: set[str] = set()
        for directory in self._directories(path):
            try:
                found |= {entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)}
            except FileNotFoundError:
                continue
        return found

    def processes(self, path: str) -> set[int]:
        """Of the cgroup and all below it, in any hierarchy."""
        found: set[int] = set()
        for directory in self._directories(path):
            for item in (directory, *_below(directory)):
                try:
                    found |= {int(line) for line in (item / "cgroup.procs").read_text().split()}
                except OSError:
                    continue  # gone, or a threaded cgroup: its processes are listed above it
        return found - {0}

    def _kill(self, path: str) -> None:
        for pid in self.processes(path):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _directories(self, path: str) -> Iterator[Path]:
        for base in self._hierarchies():
            directory = base / path.lstrip("/")
            if directory != base and directory.is_dir():
                yield directory

    def _hierarchies(self) -> list[Path]:
        if self.unified or not self._mount.is_dir():
            return [self._mount]
        return [item for item in sorted(self._mount.iterdir()) if item.is_dir() and not item.is_symlink()]

    def _delegate(self, path: str) -> None:
        """Version 2 hands controllers down one level at a time."""
        directory = self._mount
        parts = path.strip("/").split("/")
        for part in ("", *parts[:-1]):
            directory = directory / part
            directory.mkdir(exist_ok=True)
            for controller in _V2_CONTROLLERS:
                try:
                    (directory / "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError as error:
                    self._warn(f"{controller}: {cause(error)}")
        (directory / parts[-1]).mkdir(exist_ok=True)

    def _write(self, directory: Path, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            try:
                (directory / name).write_text(value)
            except OSError as error:
                self._warn(f"{name}: {cause(error)}")

    def _warn(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < _WARNINGS_LIMIT:
            self._warned.add(text)
            log.info("cgroups: %s", text)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _below(directory: Path) -> list[Path]:
    """What goes away meanwhile is left out."""
    return [Path(base, name) for base, names, _ in os.walk(directory) for name in names]


def _make_v1(base: Path, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if base.name != "cpuset":
        return
    # A cpuset without cpus takes no process: inherit from the top down.
    for ancestor in reversed([directory, *directory.parents]):
        if base in ancestor.parents:
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not (ancestor / name).read_text().strip():
                    (ancestor / name).write_text((ancestor.parent / name).read_text())
