"""A machine in memory, for hollow nodes: files are entries of a dictionary, cgroups are names.

Used by ``sampan.testing`` and simulations, beside ``SimulatedRuntime``. Passes the same contract suite as the real
one. What the machine has, and how busy it is, is what it was made with; a test may change it while the node runs.
"""

from __future__ import annotations

import errno
import hashlib
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from sampan.api.types import Obj
from sampan.node.cgroups.held import Held
from sampan.node.cgroups.settings import Part
from sampan.node.eviction.meter_memory import MemoryMeter
from sampan.node.host import Disk, Load, Machine
from sampan.node.numa import Cell
from sampan.node.processors import Topology, flat

GIB = 1 << 30
_REMEMBERED = 100


def hollow_machine(name: str, *, cpus: int = 8, memory_bytes: int = 32 * GIB, disk_bytes: int = 100 * GIB) -> Machine:
    """A machine whose identity follows from its name."""
    uuid = _uuid(name)
    return Machine(
        cpus=cpus,
        memory_bytes=memory_bytes,
        disk_bytes=disk_bytes,
        machine_id=uuid.replace("-", ""),
        system_uuid=uuid,
        boot_id=uuid,
        kernel_version="simulated",
        os_image="Simulated",
        architecture="amd64",
        hugepages={"hugepages-2Mi": 0},
    )


class MemoryHost:
    """A directory is there when it was made or something is in it."""

    def __init__(self, machine: Machine, *, resolv_conf: str = "", hosts_file: str = "127.0.0.1\tlocalhost\n") -> None:
        self._machine = machine
        self._resolv_conf, self._hosts_file = resolv_conf, hosts_file
        self.present_topology = flat(machine.cpus)
        self.present_cells = (Cell(id=0, cpus=self.present_topology.cpus, memory_bytes=machine.memory_bytes),)
        #: steers the node's conditions
        self.present_load = Load(memory_available_bytes=machine.memory_bytes, tasks=1, task_limit=1 << 22)
        self.present_disk = Disk(total_bytes=machine.disk_bytes, free_bytes=machine.disk_bytes)
        self.meter = MemoryMeter(self.machine, self.load, self.disk)
        self._files: dict[str, bytes] = {}
        self._directories: set[str] = set()
        self.cgroups: set[str] = set()
        #: by the path of a pod's cgroup or the id of a container
        self.present_held: dict[str, Held] = {}
        #: what resizes wrote last, in order
        self.rewritten: deque[tuple[str, Part]] = deque(maxlen=_REMEMBERED)
        #: what all pods together get: millicores and bytes of memory
        self.pods_limits: tuple[int, int] | None = None

    def reboot(self) -> None:
        """As after a restart of the machine: another boot id, and no cgroups."""
        self._machine = replace(self._machine, boot_id=_uuid(self._machine.boot_id))
        self.cgroups.clear()

    def machine(self) -> Machine:
        return self._machine

    def load(self) -> Load:
        return self.present_load

    def topology(self) -> Topology:
        return self.present_topology

    def cells(self) -> tuple[Cell, ...]:
        return self.present_cells

    def disk(self, path: str = "") -> Disk:
        return self.present_disk

    def resolv_conf(self) -> str:
        return self._resolv_conf

    def hosts_file(self) -> str:
        return self._hosts_file

    def read(self, path: Path, limit_bytes: int, *, tail: bool = False) -> bytes:
        data = self._files.get(str(path), b"")
        if tail and len(data) > limit_bytes:
            return data[-limit_bytes:].partition(b"\n")[2]
        return data[:limit_bytes]

    async def make_directory(self, path: Path) -> None:
        self._refuse_files(path)
        self._directories.add(str(path))

    async def write(self, path: Path, data: bytes, mode: int) -> None:
        if self.has_directory(path):
            raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
        self._refuse_files(path.parent)
        # A copy of its own length: what an encoder gives keeps the buffer that it wrote to, 4 KiB for the smallest.
        self._files[str(path)] = bytes(memoryview(data))

    async def remove_tree(self, path: Path) -> None:
        below = f"{path}/"
        self._directories -= {name for name in self._directories if f"{name}/".startswith(below)}
        for name in [name for name in self._files if f"{name}/".startswith(below)]:
            del self._files[name]

    def cgroup_path(self, pod: Obj) -> str:
        return f"/simulated/pod{pod['metadata']['uid']}"

    async def hold_pods_to(self, millicores: int, memory_bytes: int) -> bool:
        self.pods_limits = (millicores, memory_bytes)
        return True

    async def create_cgroup(self, pod: Obj) -> str:
        path = self.cgroup_path(pod)
        self.cgroups.add(path)
        return path

    async def rewrite_cgroup(self, pod: Obj, part: Part) -> None:
        self.rewritten.append((self.cgroup_path(pod), part))

    def held(self, pod: Obj, container_id: str = "") -> Held | None:
        """What a test says; by default nothing is known, and what the runtime was told counts."""
        return self.present_held.get(container_id or self.cgroup_path(pod))

    async def remove_cgroup(self, pod: Obj) -> None:
        self.cgroups.discard(self.cgroup_path(pod))

    async def sweep_cgroups(self, pods: Collection[Obj], known_uids: Callable[[], Collection[str]]) -> None:
        known = set(known_uids())
        self.cgroups = {path for path in self.cgroups if path.rpartition("/pod")[2] in known}

    def _refuse_files(self, directory: Path) -> None:
        for name in (directory, *directory.parents):
            if str(name) in self._files:
                raise FileExistsError(errno.EEXIST, "file exists", str(name))

    # For tests and what-if.

    def has_directory(self, path: Path) -> bool:
        below = f"{path}/"
        return any(f"{name}/".startswith(below) for name in self._directories) or any(
            name.startswith(below) for name in self._files
        )

    def paths(self) -> set[Path]:
        """Every file that is there."""
        return {Path(name) for name in self._files}


def _uuid(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
