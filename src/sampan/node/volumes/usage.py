"""What a claim's volume has and how much of it is used, as its file system or its driver says. Values, and one look."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sampan.records import dataclass


class Unmeasured(Exception):
    """It could not be learned this time; the message says why."""


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """0: not known, as upstream shows it. ``abnormal`` None: nobody says anything of the volume's health; ``message``
    is what the driver says of it."""

    capacity_bytes: int = 0
    available_bytes: int = 0
    used_bytes: int = 0
    inodes: int = 0
    inodes_free: int = 0
    inodes_used: int = 0
    abnormal: bool | None = None
    message: str = ""

    def without_health(self) -> VolumeUsage:
        return replace(self, abnormal=None, message="")


class Measurement(NamedTuple):
    namespace: str
    claim: str
    usage: VolumeUsage


#: by uid of the pod and name of the volume
Measurements = Mapping[str, Mapping[str, Measurement]]


def of_file_system(path: Path) -> VolumeUsage:
    """Of what ``path`` is on. May hang with a server that does. Raises Unmeasured."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise Unmeasured(f"{path}: {os.strerror(error.errno or 0)}") from None
    block = found.f_frsize
    return VolumeUsage(
        capacity_bytes=found.f_blocks * block,
        available_bytes=found.f_bavail * block,
        used_bytes=(found.f_blocks - found.f_bfree) * block,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
        inodes_used=found.f_files - found.f_ffree,
    )
