"""The machine below a node agent, as a seam: its facts, the files and folders of pods, their cgroups.

``sampan.node.host_linux`` is the real one, ``sampan.node.host_memory`` its twin for hollow nodes, which touches
neither file nor thread. Volumes have a seam of their own (``sampan.node.pods.context.Volumes``), and what runs is the
runtime's. Methods that are not ``async`` return at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sampan.api.types import Obj
from sampan.node.cgroups.held import Held
from sampan.node.cgroups.settings import Part
from sampan.node.numa import Cell
from sampan.node.processors import Topology
from sampan.records import dataclass

if TYPE_CHECKING:
    from sampan.node.eviction.meter import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What does not change while the machine runs."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel_version: str
    os_image: str
    architecture: str
    #: The kernel enforces AppArmor profiles.
    apparmor: bool = False
    #: The kernel enforces SELinux labels.
    selinux: bool = False
    swap_bytes: int = 0
    #: The kernel bounds the swap of a cgroup (version 2).
    bounds_swap: bool = False
    #: bytes of huge pages by resource name (``hugepages-2Mi``), part of ``memory_bytes``
    hugepages: Mapping[str, int] = field(default_factory=dict)
    #: The kernel holds cgroups to the huge pages that they are given.
    bounds_hugepages: bool = False
    #: cgroup version 2; the hybrid layout counts as version 1.
    unified_cgroups: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy the machine is. 0: not known; of the memory, None is: it can be all gone."""

    memory_available_bytes: int | None = None
    tasks: int = 0
    task_limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    total_bytes: int
    free_bytes: int
    #: 0: not known, or made as they are needed
    inodes: int = 0
    inodes_free: int = 0


class Host(Protocol):
    @property
    def meter(self) -> Meter:
        """What the node's protection measures."""
        ...

    def machine(self) -> Machine: ...

    def load(self) -> Load: ...

    def topology(self) -> Topology:
        """The processors that this node may use."""
        ...

    def cells(self) -> tuple[Cell, ...]:
        """Its NUMA nodes, at least one."""
        ...

    def disk(self, path: str = "") -> Disk:
        """Of the file system that ``path`` is on; "", or a path that is not there: the node's own directory's."""
        ...

    def resolv_conf(self) -> str:
        """The machine's name servers, in the words of resolv.conf(5); "" when it has none."""
        ...

    def hosts_file(self) -> str:
        """The machine's /etc/hosts; "" when it has none."""
        ...

    def read(self, path: Path, limit_bytes: int, *, tail: bool = False) -> bytes:
        """At most so much of a file that a container may have written, from its start or (``tail``) its last whole
        lines; b"" when it is not there or no regular file. A symbolic link is not followed."""
        ...

    async def make_directory(self, path: Path) -> None:
        """With its parents. Nothing to do when it is there. Raises OSError."""
        ...

    async def write(self, path: Path, data: bytes, mode: int) -> None:
        """The file has exactly this content and mode; its directory is made. Raises OSError."""
        ...

    async def remove_tree(self, path: Path) -> None:
        """The directory with all that is in it, as far as possible. It never fails."""
        ...

    def cgroup_path(self, pod: Obj) -> str:
        """The parent for the pod's sandbox; "" leaves it to the runtime."""
        ...

    async def hold_pods_to(self, millicores: int, memory_bytes: int) -> bool:
        """All pods together get no more. False: nobody holds them to anything here. Raises OSError."""
        ...

    async def create_cgroup(self, pod: Obj) -> str:
        """The pod's cgroup with its limits; returns ``cgroup_path``. Idempotent. Raises OSError."""
        ...

    async def rewrite_cgroup(self, pod: Obj, part: Part) -> None:
        """One part of the limits of the pod's cgroup, which is there. Raises OSError when the kernel refuses it."""
        ...

    def held(self, pod: Obj, container_id: str = "") -> Held | None:
        """What the kernel holds the pod's cgroup, or that of one of its containers, to; None: it cannot be told."""
        ...

    async def remove_cgroup(self, pod: Obj) -> None:
        """After the sandbox is gone; what is still running in it is ended. Idempotent."""
        ...

    async def sweep_cgroups(self, pods: Collection[Obj], known_uids: Callable[[], Collection[str]]) -> None:
        """``pods`` have a cgroup or will have one; those of pods that are not known are removed, with what runs in
        them. It never fails."""
        ...
