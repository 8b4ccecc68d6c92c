"""What the kernel holds a cgroup to, as its files say it, for cgroup v1 and v2. Blocking, but of a few short files.

Read after every start and resize, so that a pod's status shows what is so and not what was asked for.
"""

from __future__ import annotations

from pathlib import Path

from sampan.node.cgroups.settings import PERIOD_MICROSECONDS
from sampan.records import dataclass

#: cgroup v1 says "no limit" by a number of pages that no machine has.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """``cpu_shares`` is None where only a weight is kept (cgroup v2), from which no shares can be told."""

    cpu_shares: int | None = None
    #: Of a tenth of a second; 0 is no limit.
    cpu_quota_microseconds: int = 0
    #: 0 is no limit.
    memory_limit_bytes: int = 0
    memory_usage_bytes: int = 0


def read(mount: Path, path: str, *, unified: bool) -> Held | None:
    """None when there is no such cgroup, or it cannot be read."""
    below = path.lstrip("/")
    try:
        return _read_v2(mount / below) if unified else _read_v1(mount / "cpu" / below, mount / "memory" / below)
    except (OSError, ValueError, IndexError):
        return None


def _read_v1(cpu: Path, memory: Path) -> Held:
    quota, period = _number(cpu / "cpu.cfs_quota_us"), _number(cpu / "cpu.cfs_period_us")
    limit = _number(memory / "memory.limit_in_bytes")
    return Held(
        cpu_shares=_number(cpu / "cpu.shares"),
        cpu_quota_microseconds=_of_a_period(quota, period),
        memory_limit_bytes=0 if limit >= _NO_LIMIT else limit,
        memory_usage_bytes=_number(memory / "memory.usage_in_bytes"),
    )


def _read_v2(directory: Path) -> Held:
    quota, period = (directory / "cpu.max").read_text().split()
    limit = (directory / "memory.max").read_text().strip()
    return Held(
        cpu_quota_microseconds=0 if quota == "max" else _of_a_period(int(quota), int(period)),
        memory_limit_bytes=0 if limit == "max" else int(limit),
        memory_usage_bytes=_number(directory / "memory.current"),
    )


def _of_a_period(quota: int, period: int) -> int:
    return 0 if quota <= 0 or period <= 0 else quota * PERIOD_MICROSECONDS // period


def _number(file: Path) -> int:
    return int(file.read_text())
