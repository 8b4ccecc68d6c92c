"""Sets of processors and how they are arranged on a machine. Pure but for ``read_topology``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from sampan.records import dataclass

Cpus = frozenset[int]
_SYS = Path("/sys/devices/system/cpu")
#: more than any machine has: a range of a text does not become a set without end
_LIMIT = 1 << 16


class Place(NamedTuple):
    socket: int
    core: int


@dataclass(frozen=True, slots=True)
class Topology:
    places: Mapping[int, Place] = field(default_factory=dict)

    @property
    def cpus(self) -> Cpus:
        return frozenset(self.places)

    def by_socket(self, cpus: Iterable[int]) -> dict[int, Cpus]:
        found: dict[int, set[int]] = {}
        for cpu in cpus:
            found.setdefault(self.places[cpu].socket, set()).add(cpu)
        return {socket: frozenset(found[socket]) for socket in sorted(found)}

    def by_core(self, cpus: Iterable[int]) -> dict[Place, Cpus]:
        found: dict[Place, set[int]] = {}
        for cpu in cpus:
            found.setdefault(self.places[cpu], set()).add(cpu)
        return {place: frozenset(found[place]) for place in sorted(found)}


def parse(text: str) -> Cpus:
    """``0-3,8`` as the kernel and the kubelet write it. Raises ValueError."""
    return frozenset(_numbers(text.strip()))


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        begin, end = int(first), int(last if dash else first)
        if not 0 <= begin <= end < _LIMIT:
            raise ValueError(f'"{part}" is no range of processors')
        yield from range(begin, end + 1)


def show(cpus: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(begin) if begin == end else f"{begin}-{end}" for begin, end in ranges)


def flat(count: int) -> Topology:
    """So many cores of one thread each."""
    return Topology({cpu: Place(0, cpu) for cpu in range(count)})


def read_topology(directory: Path = _SYS, allowed: Iterable[int] | None = None) -> Topology:
    """Of the processors that this process may use. What the kernel does not tell is taken for a core of its own."""
    cpus = os.sched_getaffinity(0) if allowed is None else allowed
    return Topology({cpu: _place(directory / f"cpu{cpu}" / "topology", cpu) for cpu in cpus})


def _place(directory: Path, cpu: int) -> Place:
    try:
        socket = int((directory / "physical_package_id").read_text())
        return Place(max(socket, 0), int((directory / "core_id").read_text()))
    except (OSError, ValueError):
        return Place(0, cpu)
