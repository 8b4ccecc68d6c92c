"""What pods use of a node, as it was measured. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from sampan.api.reading import parts
from sampan.api.types import Obj
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class DiskUsage:
    used_bytes: int = 0
    inodes: int = 0
    #: Everything was counted; else these are the least that it is.
    complete: bool = True

    def __add__(self, other: DiskUsage) -> DiskUsage:
        return DiskUsage(
            self.used_bytes + other.used_bytes, self.inodes + other.inodes, self.complete and other.complete
        )


NOTHING = DiskUsage()


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    memory_bytes: int = 0
    rootfs: DiskUsage = NOTHING
    logs: DiskUsage = NOTHING


@dataclass(frozen=True, slots=True)
class PodUsage:
    """``volumes``: those on the node's own disk, by name. ``other``: files that the node made for the pod."""

    containers: Mapping[str, ContainerUsage] = field(default_factory=dict)
    volumes: Mapping[str, DiskUsage] = field(default_factory=dict)
    other: DiskUsage = NOTHING
    processes: int = 0

    @property
    def memory_bytes(self) -> int:
        return sum(each.memory_bytes for each in self.containers.values())

    def disk(self, *, rootfs: bool = True, logs_and_volumes: bool = True) -> DiskUsage:
        total = NOTHING
        for each in self.containers.values():
            total += each.rootfs if rootfs else NOTHING
            total += each.logs if logs_and_volumes else NOTHING
        if logs_and_volumes:
            for volume in self.volumes.values():
                total += volume
        return total


def local_volumes(pod: Obj) -> list[tuple[str, str]]:
    """Name and type of the volumes whose content counts as the pod's own use of the disk."""
    found = []
    for volume in parts(pod["spec"], "volumes"):
        scratch = volume.get("emptyDir")
        if isinstance(scratch, dict) and not scratch.get("medium"):
            found.append((str(volume.get("name")), "emptyDir"))
        elif isinstance(volume.get("configMap"), dict):
            found.append((str(volume.get("name")), "configMap"))
    return found
