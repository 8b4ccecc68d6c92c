"""Which routes a node needs to the pods of the others. Pure.

Every Node says which ranges its pods have (``spec.podCIDRs``) and where it is (its InternalIPs). What a Node says is
taken for what lies within the cluster's ranges alone, and a range that two nodes claim belongs to the one whose Node is
older: nobody draws the traffic of others to himself.

A range goes by the address of its own family where that lies in a network of this machine (``Route``), and else, or
always, as the back end has it, in a tunnel to the node (``Tunnel``). ``Backend`` says which: docs/network.md.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal

import orjson

from sampan.api.reading import part, parts, text, text_map, texts
from sampan.api.types import Obj
from sampan.records import dataclass

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: ``auto``: as ``host-gw`` where the nodes share a network, as ``vxlan`` elsewhere.
Backend = Literal["auto", "host-gw", "vxlan", "wireguard"]

#: Of a Node: by which key and port of UDP its WireGuard is reached, ``{"publicKey": ..., "port": ...}``.
WIREGUARD_ANNOTATION: Final = "pod-network.sampan.io/wireguard"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True, slots=True)
class Peer:
    """A node as the others see it. ``since``: when its Node was made, as the API writes it. ``key``: of its WireGuard,
    or "", and ``port``."""

    name: str
    ranges: tuple[Network, ...] = ()
    addresses: tuple[Address, ...] = ()
    since: str = ""
    key: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """An address of this machine with its network, and the MTU of the interface that has it."""

    network: Network
    address: Address
    mtu: int = 1500


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """``destination`` (a range of pods) by ``via`` (the node that has them). ``device``: a tunnel's, which has ``via``
    at its other end, or all of the range if that is ""."""

    destination: str
    via: str
    device: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Tunnel:
    """``destination`` (a range of pods) lies behind ``node``, whose end of the tunnel is at ``endpoint``."""

    destination: str
    node: str
    endpoint: str
    key: str = ""
    port: int = 0

    @property
    def gateway(self) -> str:
        """The address that the other end has in the pod network: the range's own, which no pod gets."""
        return self.destination.partition("/")[0]


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """``own``: the ranges of this node, ``local`` where others find it. ``far``: nodes to whose pods nothing leads."""

    routes: frozenset[Route] = frozenset()
    tunnels: frozenset[Tunnel] = frozenset()
    own: tuple[str, ...] = ()
    local: str = ""
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
    key, port = _wireguard(text_map(meta, "annotations").get(WIREGUARD_ANNOTATION, ""))
    return Peer(text(meta, "name"), ranges, addresses, text(meta, "creationTimestamp"), key, port)


def _wireguard(written: str) -> tuple[str, int]:
    """Key and port, as far as they are such."""
    try:
        told = orjson.loads(written)
        key, port = told["publicKey"], told["port"]
    except (ValueError, TypeError, KeyError):
        return "", 0
    if isinstance(key, str) and _KEY.fullmatch(key) and type(port) is int and 0 < port < 1 << 16:
        return key, port
    return "", 0


def network(written: str) -> Network | None:
    if "%" in written:  # what follows may be anything (as in ``address``)
        return None
    try:
        return ipaddress.ip_network(written)
    except ValueError:
        return None


def address(written: str) -> Address | None:
    """None: it is none of a node. An IPv6 address with a scope means nothing on another machine, and the scope may be
    any text, with new lines too: it must not come into what ``ip``, ``nft`` and ``wg`` are told."""
    if "%" in written:
        return None
    try:
        found = ipaddress.ip_address(written)
    except ValueError:
        return None
    return None if found.is_loopback or found.is_multicast or found.is_unspecified else found


def plan_routes(
    peers: Iterable[Peer],
    own_name: str,
    cluster: Sequence[Network],
    links: Sequence[Link],
    backend: Backend = "host-gw",
) -> RoutePlan:
    """``cluster``: the ranges of all pods. ``links``: the networks that this machine's interfaces are in."""
    routes: set[Route] = set()
    tunnels: set[Tunnel] = set()
    far: dict[str, None] = {}
    own: tuple[str, ...] = ()
    local = ""
    underlay = cluster[0].version
    taken = _Taken(cluster)
    keys: set[str] = set()
    near = [link.network for link in links if link.network.num_addresses > 1]
    # This node's own range first: nobody else gets it.
    for peer in sorted(peers, key=lambda peer: (peer.name != own_name, peer.since, peer.name)):
        given = [each for each in peer.ranges if taken.take(each)]
        if peer.name == own_name:
            own = tuple(map(str, given))
            local = str(_of_family(peer, underlay) or "")
            keys.add(peer.key)
            continue
        # A key that two nodes claim is the older's, as a range is: WireGuard knows a peer by its key alone.
        key = peer.key if peer.key not in keys else ""
        keys.add(key)
        endpoint = _of_family(peer, underlay)
        for wanted in given:
            via = _of_family(peer, wanted.version)
            if backend in ("auto", "host-gw") and via is not None and any(via in link for link in near):
                routes.add(Route(str(wanted), str(via)))
            elif backend in ("auto", "vxlan") and endpoint is not None:
                tunnels.add(Tunnel(str(wanted), peer.name, str(endpoint)))
            elif backend == "wireguard" and endpoint is not None and key:
                tunnels.add(Tunnel(str(wanted), peer.name, str(endpoint), key, peer.port))
            else:
                far[peer.name] = None
    return RoutePlan(frozenset(routes), frozenset(tunnels), own, local, tuple(far))


def _of_family(peer: Peer, version: int) -> Address | None:
    return next((each for each in peer.addresses if each.version == version), None)


class _Taken:
    """Ranges that somebody has, none of which overlap: a look costs the logarithm of their number."""

    def __init__(self, cluster: Sequence[Network]) -> None:
        self._whole = [(each.version, *_span(each)) for each in cluster]
        self._spans: dict[int, list[tuple[int, int]]] = {each.version: [] for each in cluster}

    def take(self, wanted: Network) -> bool:
        """False: it is not the cluster's, or overlaps one that is taken."""
        first, last = _span(wanted)
        if not any(wanted.version == version and low <= first and last <= high for version, low, high in self._whole):
            return False
        spans = self._spans[wanted.version]
        place = bisect.bisect(spans, (first, last))
        if (place and spans[place - 1][1] >= first) or (place < len(spans) and spans[place][0] <= last):
            return False
        spans.insert(place, (first, last))
        return True


def _span(network: Network) -> tuple[int, int]:
    first = int(network.network_address)
    return first, first + network.num_addresses - 1


def within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)
