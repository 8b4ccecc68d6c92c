"""What a simulated node uses, as somebody who looks at it again and again would know it. Pure.

Its containers use the same all their lives, so the look before can be told from the present one: nobody has to look in
the meantime, and a simulation of a year is not full of looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sampan.api.nodes.usage import LEAST_WINDOW_SECONDS, Looks, NodeUsage, PodName, Point
from sampan.node.api.machine import MachineUsage
from sampan.node.runtime import (
    CONTAINER_NAME_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    Container,
    ContainerStats,
)

WINDOW_SECONDS: Final = 10.0

#: of a second: what can be taken from a time of this century exactly
_GRAINS: Final = 1024
_Pods = dict[PodName, dict[str, Point]]


def steady_looks(machine: MachineUsage, running: Iterable[tuple[Container, ContainerStats]], now: datetime) -> Looks:
    """Of a container that has just started nothing is known yet. No rate is more than it is, not by a billionth:
    programs that print thousandths round up."""
    time = now.timestamp()
    last: _Pods = {}
    earlier: _Pods = {}
    used_lately = 0
    for container, stats in running:
        labels = container.labels
        pod = labels.get(POD_NAMESPACE_LABEL, ""), labels.get(POD_NAME_LABEL, "")
        name = labels.get(CONTAINER_NAME_LABEL, "")
        started = container.started_at or stats.timestamp
        age, measured = (stats.timestamp - started).total_seconds(), stats.timestamp.timestamp()
        cpu, memory = stats.cpu_nanoseconds, stats.memory_working_set_bytes
        last.setdefault(pod, {})[name] = Point(measured, cpu, memory, started.timestamp())
        window = min(math.floor(age * _GRAINS) / _GRAINS, WINDOW_SECONDS)
        if window >= LEAST_WINDOW_SECONDS:
            lately = int(cpu * window / age)
            used_lately += lately
            earlier.setdefault(pod, {})[name] = Point(measured - window, cpu - lately, memory, started.timestamp())
    memory, total = machine.memory_working_set_bytes, machine.cpu_nanoseconds
    before = Point(time - WINDOW_SECONDS, max(total - used_lately, 0), memory)
    return Looks(NodeUsage(Point(time, total, memory), last), NodeUsage(before, earlier))
