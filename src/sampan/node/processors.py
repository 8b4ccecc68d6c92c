"""Sets of processors and how they are arranged on a machine. Pure but for ``read_topology``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import NamedTuple, TypeVar

from sampan.records import dataclass

Cpus = frozenset[int]
_SYS = Path("/sys/devices/system/cpu")
#: more than any machine has: a range of a text does not become a set without end
_LIMIT = 1 << 16


class Place(NamedTuple):
    """Of one core, and so of its threads. ``node``: the NUMA node; ``cache``: the last-level cache that it shares."""

    socket: int
    core: int
    node: int = 0
    cache: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    places: Mapping[int, Place] = field(default_factory=dict)

    @property
    def cpus(self) -> Cpus:
        return frozenset(self.places)

    @property
    def threads(self) -> int:
        """Of one core."""
        return len(self.places) // max(len(set(self.places.values())), 1)

    def by_node(self, cpus: Iterable[int]) -> dict[int, Cpus]:
        return _grouped(cpus, lambda cpu: self.places[cpu].node)

    def by_socket(self, cpus: Iterable[int]) -> dict[int, Cpus]:
        return _grouped(cpus, lambda cpu: self.places[cpu].socket)

    def by_cache(self, cpus: Iterable[int]) -> dict[int, Cpus]:
        return _grouped(cpus, lambda cpu: self.places[cpu].cache)

    def by_core(self, cpus: Iterable[int]) -> dict[Place, Cpus]:
        return _grouped(cpus, lambda cpu: self.places[cpu])


Key = TypeVar("Key", int, Place)


def _grouped(cpus: Iterable[int], key: Callable[[int], Key]) -> dict[Key, Cpus]:
    found: dict[Key, set[int]] = {}
    for cpu in cpus:
        found.setdefault(key(cpu), set()).add(cpu)
    return {each: frozenset(found[each]) for each in sorted(found)}


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
    return Topology({cpu: _place(directory / f"cpu{cpu}", cpu) for cpu in cpus})


def _place(directory: Path, cpu: int) -> Place:
    socket, core = _number(directory / "topology/physical_package_id"), _number(directory / "topology/core_id")
    nodes = [path.name.removeprefix("node") for path in directory.glob("node[0-9]*")]
    node = int(nodes[0]) if nodes and nodes[0].isdecimal() else 0
    cache = _number(directory / "cache/index3/id")
    if socket is None or core is None:
        return Place(0, cpu, node, max(cache or 0, 0))
    return Place(max(socket, 0), core, node, max(cache or 0, 0))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
