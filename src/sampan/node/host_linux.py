"""The real machine. The only module of the agent's core that reads /proc and /etc, or makes files of pods.

Used by ``sampan.node.agent`` unless it is given another ``Host``. What may take long is done in threads.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from sampan.api.types import Obj
from sampan.node.cgroups.held import Held
from sampan.node.cgroups.manager import CgroupManager
from sampan.node.cgroups.settings import Part
from sampan.node.config import NodeConfig
from sampan.node.eviction.meter_linux import LinuxMeter
from sampan.node.host import Disk, Load, Machine
from sampan.node.images.build import go_architecture
from sampan.node.numa import Cell, page_sizes, read_cells, total_hugepages
from sampan.node.processors import Topology, read_topology

_HOSTS_FILE = "/etc/hosts"


class LinuxHost:
    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._cgroups = CgroupManager(
            config.cgroup_root, config.cgroup_mount, pids_limit=config.pod_pids_limit, page_sizes=page_sizes()
        )
        config.root_dir.mkdir(parents=True, exist_ok=True)
        self.meter = LinuxMeter(
            config, self.load, _memory("MemTotal") or 0, self._cgroups.pods_memory, self._cgroups.pod_processes
        )

    def machine(self) -> Machine:
        release = dict(line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line)
        machine_id = _read("/etc/machine-id") or _read("/var/lib/dbus/machine-id")
        return Machine(
            cpus=os.cpu_count() or 1,
            memory_bytes=_memory("MemTotal") or 0,
            disk_bytes=self.disk().total_bytes,
            machine_id=machine_id,
            system_uuid=_read("/sys/class/dmi/id/product_uuid") or machine_id,
            boot_id=_read("/proc/sys/kernel/random/boot_id"),
            kernel_version=platform.release(),
            os_image=release.get("PRETTY_NAME", "Linux").strip('"'),
            architecture=go_architecture(),
            apparmor=_read("/sys/module/apparmor/parameters/enabled") == "Y"
            and Path("/sys/kernel/security/apparmor").exists(),
            selinux=Path("/sys/fs/selinux/enforce").exists(),
            swap_bytes=_memory("SwapTotal") or 0,
            bounds_swap=self._cgroups.unified and _bounds_swap(self._config.cgroup_mount),
            hugepages=total_hugepages(self.cells()),
            bounds_hugepages=self._cgroups.bounds_hugepages,
            unified_cgroups=self._cgroups.unified,
        )

    def load(self) -> Load:
        words = _read("/proc/loadavg").split()
        return Load(
            memory_available_bytes=_memory("MemAvailable"),
            tasks=int(words[3].partition("/")[2]) if len(words) > 3 else 0,
            task_limit=int(_read("/proc/sys/kernel/pid_max") or 0),
        )

    def topology(self) -> Topology:
        return read_topology()

    def cells(self) -> tuple[Cell, ...]:
        return read_cells(_memory("MemTotal") or 0, self.topology().cpus)

    def disk(self, path: str = "") -> Disk:
        usage = shutil.disk_usage(path if path and Path(path).exists() else self._config.root_dir)
        return Disk(total_bytes=usage.total, free_bytes=usage.free)

    def resolv_conf(self) -> str:
        return _read(str(self._config.resolv_conf))

    def hosts_file(self) -> str:
        return _read(_HOSTS_FILE, strip=False)

    def read(self, path: Path, limit_bytes: int, *, tail: bool = False) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return b""
            start = max(status.st_size - limit_bytes, 0) if tail else 0
            data = os.pread(descriptor, limit_bytes, start)
            return data.partition(b"\n")[2] if start else data
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    async def make_directory(self, path: Path) -> None:
        await asyncio.to_thread(path.mkdir, 0o755, parents=True, exist_ok=True)

    async def write(self, path: Path, data: bytes, mode: int) -> None:
        await asyncio.to_thread(_write, path, data, mode)

    async def remove_tree(self, path: Path) -> None:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    def cgroup_path(self, pod: Obj) -> str:
        return self._cgroups.path(pod)

    async def hold_pods_to(self, millicores: int, memory_bytes: int) -> bool:
        return await self._cgroups.hold_together(millicores, memory_bytes)

    async def create_cgroup(self, pod: Obj) -> str:
        return await self._cgroups.create(pod)

    async def rewrite_cgroup(self, pod: Obj, part: Part) -> None:
        await self._cgroups.rewrite(pod, part)

    def held(self, pod: Obj, container_id: str = "") -> Held | None:
        return self._cgroups.held(pod, container_id)

    async def remove_cgroup(self, pod: Obj) -> None:
        await self._cgroups.remove(pod)

    async def sweep_cgroups(self, pods: Collection[Obj], known_uids: Callable[[], Collection[str]]) -> None:
        await self._cgroups.sweep(pods, known_uids)


def _read(path: str, *, strip: bool = True) -> str:
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return text.strip() if strip else text


def _memory(name: str) -> int | None:
    """None: not known."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _bounds_swap(mount: Path) -> bool:
    """The root of a hierarchy has no limits: this process' own cgroup says whether the kernel knows the file."""
    for line in _read("/proc/self/cgroup").splitlines():
        if line.startswith("0::/"):
            return (mount / line.removeprefix("0::/") / "memory.swap.max").exists()
    return False


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        known = path.stat()
        if (known.st_size, known.st_mode & 0o7777) == (len(data), mode) and path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    path.write_bytes(data)
    path.chmod(mode)  # past the umask
