"""Which processors to take of those that are free: as few sockets and cores as may be are broken up. Pure.

In the order of the kubelet's (``cpumanager/cpu_assignment.go``): whole sockets, whole cores, then single threads, those
first whose socket and core are used already.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.node.processors import Cpus, Topology


class TooFew(Exception):
    """The text is the kubelet's."""


def take(topology: Topology, free: Cpus, count: int) -> Cpus:
    """Exactly ``count`` of ``free``. Raises TooFew."""
    if count > len(free):
        raise TooFew(f"not enough cpus available to satisfy request: requested={count}, available={len(free)}")
    taken: set[int] = set()
    for groups in (_sockets, _cores, _threads):
        for group in groups(topology, free - taken, frozenset(taken)):
            if len(group) <= count - len(taken):
                taken |= group
    return frozenset(taken)


def _sockets(topology: Topology, free: Cpus, taken: Cpus) -> Iterator[Cpus]:
    whole = topology.by_socket(topology.cpus)
    return (cpus for socket, cpus in topology.by_socket(free).items() if cpus == whole[socket])


def _cores(topology: Topology, free: Cpus, taken: Cpus) -> Iterator[Cpus]:
    whole, sockets = topology.by_core(topology.cpus), topology.by_socket(free)
    used = topology.by_socket(taken).keys()
    order = sorted(sockets, key=lambda socket: (socket not in used, len(sockets[socket]), socket))
    for socket in order:
        yield from (cpus for place, cpus in topology.by_core(sockets[socket]).items() if cpus == whole[place])


def _threads(topology: Topology, free: Cpus, taken: Cpus) -> Iterator[Cpus]:
    sockets, cores = topology.by_socket(free), topology.by_core(free)
    used = topology.by_socket(taken).keys()

    def rank(cpu: int) -> tuple[bool, int, int, int]:
        place = topology.places[cpu]
        return place.socket not in used, len(sockets[place.socket]), len(cores[place]), cpu

    yield from (frozenset({cpu}) for cpu in sorted(free, key=rank))
