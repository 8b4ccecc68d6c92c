"""Ports and address ranges that nothing on this machine uses: for a real cluster that stands beside whatever is there.

Used by Sampan's own end-to-end tests and benchmarks. Reads the machine and changes nothing. What it finds is free at
that moment, and chosen at random: two who look at once rarely find the same. Ports lie below those that the kernel
gives to connections, or a cluster could lose one while it is down for a moment.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from sampan.api.clock import Random, SystemRandom
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Settings

_LOWEST_PORT, _HIGHEST_PORT = 12000, 30000
_NODE_PORTS = 1000
_TRIES = 1000


def settings(name: str, *, random: Random | None = None, state_root: Path = instances.STATE_ROOT) -> Settings:
    """Valid settings for a new instance. Raises ClusterError when the machine has nothing left."""
    chance = random or SystemRandom()
    # The defaults too: the machine's main cluster may be down for a moment, or not made yet.
    others = [*_instances(state_root), Settings()]
    taken = {port for other in others for port in _ports_of(other)}
    low = next(
        start for start in _some_ports(chance)
        if all(port not in taken and is_free(port) for port in range(start, start + _NODE_PORTS))
    )  # fmt: skip
    taken |= set(ours := range(low, low + _NODE_PORTS))
    ports = (port for port in _some_ports(chance) if port not in taken and is_free(port))
    ranges = _free_ranges(chance, [*_routed(), *_ranges_of(others)])
    made = Settings(
        name=name,
        api_port=next(ports),
        kubelet_port=next(ports),
        dns_port=next(ports),
        node_ports=(ours[0], ours[-1]),
        pod_cidr=str(next(ranges)),
        service_cidr=str(next(ranges)),
    )
    made.validate()
    return made


def arguments(chosen: Settings) -> list[str]:
    """The same as options of ``sampan up``."""
    low, high = chosen.node_ports
    return [
        "--name", chosen.name, "--api-port", str(chosen.api_port), "--kubelet-port", str(chosen.kubelet_port),
        "--dns-port", str(chosen.dns_port), "--pod-cidr", chosen.pod_cidr, "--service-cidr", chosen.service_cidr,
        "--node-port-range", f"{low}-{high}",
    ]  # fmt: skip


def is_free(port: int) -> bool:
    """For TCP and UDP, on every address of this machine."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


def _instances(state_root: Path) -> Iterator[Settings]:
    for name in instances.names(state_root):
        try:
            yield instances.load(name, state_root=state_root).settings
        except ClusterError:  # a damaged one uses nothing
            continue


def _some_ports(chance: Random) -> Iterator[int]:
    """Without end but for a machine on which nothing is free. Never the same one after another."""
    seen: set[int] = set()
    for _ in range(_TRIES):
        port = _LOWEST_PORT + chance.randrange(_HIGHEST_PORT - _LOWEST_PORT)
        if port not in seen:
            seen.add(port)
            yield port
    raise ClusterError("no free ports were found on this machine", fix="stop what listens on them")


def _ports_of(other: Settings) -> set[int]:
    low, high = other.node_ports
    return {other.api_port, other.kubelet_port, other.dns_port, *range(low, high + 1)}


def _ranges_of(others: list[Settings]) -> list[IPv4Network]:
    return [IPv4Network(text) for other in others for text in (other.pod_cidr, other.service_cidr)]


def _routed() -> list[IPv4Network]:
    """What this machine already sends somewhere, the default route left out."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        # Little-endian hexadecimal.
        address, mask = (int.from_bytes(bytes.fromhex(words[place]), "little") for place in (1, 7))
        if mask:
            found.append(IPv4Network((address, mask.bit_count())))
    return found


def _free_ranges(chance: Random, taken: list[IPv4Network]) -> Iterator[IPv4Network]:
    """/16 networks of 10.0.0.0/8 that overlap with none that is taken, each once."""
    candidates = list(ipaddress.IPv4Network("10.0.0.0/8").subnets(new_prefix=16))[1:]
    while candidates:
        network = candidates.pop(chance.randrange(len(candidates)))
        if not any(network.overlaps(other) for other in taken):
            yield network
    raise ClusterError("no free network of 10.0.0.0/8 was found on this machine", fix="remove a route to it")
