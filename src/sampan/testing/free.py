"""Ports and address ranges that nothing on this machine uses: for a real cluster that stands beside whatever is there.

Used by Sampan's own end-to-end tests and benchmarks. Reads the machine and changes nothing. What it finds is free at
that moment, and chosen at random: two who look at once rarely find the same. Ports lie below those that the kernel
gives to connections, or a cluster could lose one while it is down for a moment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from sampan.api.clock import Random, SystemRandom
from sampan.cluster import choosing, ranges
from sampan.cluster import instance as instances
from sampan.cluster.choosing import is_free
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings

_LOWEST_PORT, _HIGHEST_PORT = 12000, 30000
_NODE_PORTS = 1000
_TRIES = 1000


def instance(name: str, *, random: Random | None = None, state_root: Path = instances.STATE_ROOT) -> Instance:
    """A new instance with valid settings. Raises ClusterError when the machine has nothing left."""
    chance = random or SystemRandom()
    made = instances.nameless(name, state_root=state_root)
    # The defaults too: the machine's main cluster may be down for a moment, or not made yet.
    others = [*choosing.others(made), Instance(ClusterSettings())]
    taken = {port for other in others for port in _ports_of(other)}
    low = next(
        start for start in _some_ports(chance)
        if all(port not in taken and is_free(port) for port in range(start, start + _NODE_PORTS))
    )  # fmt: skip
    taken |= set(ours := range(low, low + _NODE_PORTS))
    ports = (port for port in _some_ports(chance) if port not in taken and is_free(port))
    free = _free_ranges(chance, [*choosing.routed(), *_ranges_of(others)])
    cluster = ClusterSettings(
        name=name,
        api_port=next(ports),
        node_ports=(ours[0], ours[-1]),
        pod_cidr=str(next(free)),
        service_cidr=str(next(free)),
    )
    node = NodeSettings(
        kubelet_port=next(ports), dns_port=next(ports), ingress_http_port=next(ports), ingress_https_port=next(ports)
    )
    made = Instance(cluster, made.state_root, made.run_root, node)
    made.validate()
    return made


def node_range(name: str) -> str:
    """A range that a node's pods may have, for a runtime without a cluster."""
    return str(next(IPv4Network(instance(name).cluster.pod_cidr).subnets(new_prefix=24)))


def arguments(chosen: Instance) -> list[str]:
    """The same as options of ``sampan up``."""
    cluster, node = chosen.cluster, chosen.node
    low, high = cluster.node_ports
    return [
        "--name", cluster.name, "--api-port", str(cluster.api_port), "--kubelet-port", str(node.kubelet_port),
        "--dns-port", str(node.dns_port), "--pod-cidr", cluster.pod_cidr, "--service-cidr", cluster.service_cidr,
        "--node-port-range", f"{low}-{high}", "--ingress-http-port", str(node.ingress_http_port),
        "--ingress-https-port", str(node.ingress_https_port),
    ]  # fmt: skip


def _some_ports(chance: Random) -> Iterator[int]:
    """Without end but for a machine on which nothing is free. Never the same one after another."""
    seen: set[int] = set()
    for _ in range(_TRIES):
        port = _LOWEST_PORT + chance.randrange(_HIGHEST_PORT - _LOWEST_PORT)
        if port not in seen:
            seen.add(port)
            yield port
    raise ClusterError("no free ports were found on this machine", fix="stop what listens on them")


def _ports_of(other: Instance) -> set[int]:
    low, high = other.cluster.node_ports
    node = other.node
    ports = {other.cluster.api_port, node.kubelet_port, node.dns_port, node.ingress_http_port, node.ingress_https_port}
    return {*ports, *range(low, high + 1)}


def _ranges_of(others: list[Instance]) -> list[ranges.Network]:
    written = [text for other in others for text in (other.cluster.pod_cidr, other.cluster.service_cidr)]
    return [network for text in written for network in ranges.read(text)]


def _free_ranges(chance: Random, taken: list[ranges.Network]) -> Iterator[IPv4Network]:
    """/16 networks of 10.0.0.0/8 that overlap with none that is taken, each once."""
    candidates = list(ipaddress.IPv4Network("10.0.0.0/8").subnets(new_prefix=16))[1:]
    while candidates:
        network = candidates.pop(chance.randrange(len(candidates)))
        if not any(ranges.overlap(network, other) for other in taken):
            yield network
    raise ClusterError("no free network of 10.0.0.0/8 was found on this machine", fix="remove a route to it")
