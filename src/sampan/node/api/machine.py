"""The whole machine's use of CPU and memory, from /proc: the node's line in statistics. Synchronous and cheap."""

from __future__ import annotations

import os
from pathlib import Path

from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class MachineUsage:
    cpu_nanoseconds: int
    memory_working_set_bytes: int
    memory_total_bytes: int
    memory_available_bytes: int


def read_machine(proc: Path = Path("/proc")) -> MachineUsage:
    """Raises OSError, ValueError."""
    fields = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
    ticks = [int(field) for field in fields[:8]]
    # user nice system idle iowait irq softirq steal: all but waiting and what the hypervisor kept
    busy = sum(ticks) - ticks[3] - ticks[4] - (ticks[7] if len(ticks) > 7 else 0)
    memory = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        memory[name] = int(rest.split()[0]) * 1024
    total, available = memory["MemTotal"], memory["MemAvailable"]
    # Working set: used and not reclaimable soon, the cgroup files' meaning of the word.
    working = total - memory["MemFree"] - memory.get("Inactive(file)", 0)
    return MachineUsage(busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK"), working, total, available)
