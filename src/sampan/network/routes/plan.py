"""Which routes a node needs to the pods of the others. Pure.

Every Node says which ranges its pods have (``spec.podCIDRs``) and where it is (its InternalIPs). A range goes by the
address of its own family. What a Node says is taken for what lies within the cluster's ranges alone, and a range that
two nodes claim belongs to the one whose Node is older: nobody draws the traffic of others to himself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj
from sampan.records import dataclass

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peer:
    """A node as the others see it. ``since``: when its Node was made, as the API writes it."""

    name: str
    ranges: tuple[Network, ...] = ()
    addresses: tuple[Address, ...] = ()
    since: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """``destination`` (a range of pods) by ``via`` (the node that has them)."""

    destination: str
    via: str


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """``far``: nodes that share no network with this one, so that no route leads there."""

    routes: frozenset[Route] = frozenset()
    far: tuple[str, ...] = ()


def read_peer(node: Obj) -> Peer | None:
    """None: it has no range yet, or no address. What is not of its type counts as absent."""
    spec, meta = part(node, "spec"), part(node, "metadata")
    ranges = tuple(
        found for each in list(texts(spec, "podCIDRs")) or [text(spec, "podCIDR")] if (found := network(each))
    )
    addresses = tuple(
        place
        for each in parts(part(node, "status"), "addresses")
        if text(each, "type") == "InternalIP" and (place := address(text(each, "address")))
    )
    if not ranges or not addresses:
        return None
    return Peer(text(meta, "name"), ranges, addresses, text(meta, "creationTimestamp"))


def network(written: str) -> Network | None:
    try:
        return ipaddress.ip_network(written)
    except ValueError:
        return None


def address(written: str) -> Address | None:
    try:
        found = ipaddress.ip_address(written)
    except ValueError:
        return None
    return None if found.is_loopback or found.is_multicast or found.is_unspecified else found


def plan_routes(
    peers: Iterable[Peer], own_name: str, cluster: Sequence[Network], links: Sequence[Network]
) -> RoutePlan:
    """``cluster``: the ranges of all pods. ``links``: the networks that this machine's interfaces are in."""
    routes: set[Route] = set()
    far: list[str] = []
    taken: list[Network] = []
    # This node's own range first: nobody else gets it.
    for peer in sorted(peers, key=lambda peer: (peer.name != own_name, peer.since, peer.name)):
        for wanted in peer.ranges:
            if not any(within(wanted, whole) for whole in cluster) or any(overlap(wanted, each) for each in taken):
                continue
            taken.append(wanted)
            if peer.name == own_name:
                continue
            via = next((each for each in peer.addresses if each.version == wanted.version), None)
            if via is not None and any(via in link for link in links):
                routes.add(Route(str(wanted), str(via)))
            elif peer.name not in far:
                far.append(peer.name)
    return RoutePlan(frozenset(routes), tuple(far))


def within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
