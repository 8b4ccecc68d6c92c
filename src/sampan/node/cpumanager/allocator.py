"""Which processors to take of those that are free: as few NUMA nodes, sockets and cores as may be are broken up. Pure.

In the order of the kubelet's (``cpumanager/cpu_assignment.go``): whole NUMA nodes and sockets, where it is asked for
caches, whole cores, then single threads, those first whose neighbours are used already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from sampan.node.processors import Cpus, Place, Topology

Key = TypeVar("Key", int, Place)


class TooFew(Exception):
    """The text is the kubelet's."""


def take(topology: Topology, free: Cpus, count: int, *, apart: bool = False, by_cache: bool = False) -> Cpus:
    """Exactly ``count`` of ``free``. ``apart``: threads of several cores rather than cores; ``by_cache``: as few
    last-level caches as may be. Raises TooFew."""
    if count > len(free):
        raise TooFew(f"not enough cpus available to satisfy request: requested={count}, available={len(free)}")
    steps = [_largest, _next_largest, *([_caches] if by_cache else []), *([] if apart else [_cores])]
    taken: Cpus = frozenset()
    for step in steps:
        for group in step(topology, free - taken, taken):
            if len(group) <= count - len(taken):
                taken |= group
        if step is _caches and count > len(taken):
            taken |= _part_of_a_cache(topology, free - taken, taken, count - len(taken))
    rest = _threads(topology, free - taken, taken, apart=apart)
    return taken | frozenset(cpu for cpu, _ in zip(rest, range(count - len(taken)), strict=False))


def _levels(topology: Topology, cpus: Cpus) -> tuple[Mapping[int, Cpus], Mapping[int, Cpus]]:
    """By the larger of NUMA nodes and sockets, then by the smaller."""
    nodes, sockets = topology.by_node(cpus), topology.by_socket(cpus)
    return (nodes, sockets) if _nodes_hold_sockets(topology) else (sockets, nodes)


def _nodes_hold_sockets(topology: Topology) -> bool:
    places = topology.places.values()
    return len({place.socket for place in places}) >= len({place.node for place in places})


def _largest(topology: Topology, free: Cpus, taken: Cpus) -> list[Cpus]:
    return _whole(_levels(topology, free)[0], _levels(topology, topology.cpus)[0])


def _next_largest(topology: Topology, free: Cpus, taken: Cpus) -> list[Cpus]:
    return _whole(_levels(topology, free)[1], _levels(topology, topology.cpus)[1])


def _whole(free: Mapping[Key, Cpus], all_: Mapping[Key, Cpus]) -> list[Cpus]:
    return [cpus for key, cpus in free.items() if cpus == all_[key]]


def _cores(topology: Topology, free: Cpus, taken: Cpus) -> list[Cpus]:
    whole = topology.by_core(topology.cpus)
    return [cpus for part in _parts(topology, free, taken) for cpus in _whole(topology.by_core(part), whole)]


def _caches(topology: Topology, free: Cpus, taken: Cpus) -> list[Cpus]:
    whole = topology.by_cache(topology.cpus)
    return [cpus for part in _parts(topology, free, taken) for cpus in _whole(topology.by_cache(part), whole)]


def _part_of_a_cache(topology: Topology, free: Cpus, taken: Cpus, count: int) -> Cpus:
    """From whole cores of the fullest cache that has so many; none: no cache has."""
    whole = topology.by_core(topology.cpus)
    for part in _parts(topology, free, taken):
        caches = topology.by_cache(part)
        for cache in sorted(caches, key=lambda each: (len(caches[each]), each)):
            cores = _whole(topology.by_core(caches[cache]), whole)
            if sum(map(len, cores)) >= count:
                return frozenset([cpu for core in cores for cpu in sorted(core)][:count])
    return frozenset()


def _threads(topology: Topology, free: Cpus, taken: Cpus, *, apart: bool) -> Iterator[int]:
    cores = {place: sorted(cpus) for place, cpus in topology.by_core(free).items()}

    def rank(cpu: int) -> tuple[int, int]:
        core = cores[topology.places[cpu]]
        return core.index(cpu) if apart else len(core), cpu

    for part in _parts(topology, free, taken):
        yield from sorted(part, key=rank)


def _parts(topology: Topology, free: Cpus, taken: Cpus) -> Iterator[Cpus]:
    """``free`` in parts that lie together: those first where something is taken already, then the smallest."""
    used, inner_used = _levels(topology, taken)
    outer = _levels(topology, free)[0]
    for key in _in_order(outer, used):
        inner = _levels(topology, outer[key])[1]
        for each in _in_order(inner, inner_used):
            yield inner[each]


def _in_order(groups: Mapping[int, Cpus], used: Mapping[int, Cpus]) -> list[int]:
    return sorted(groups, key=lambda key: (key not in used, len(groups[key]), key))
