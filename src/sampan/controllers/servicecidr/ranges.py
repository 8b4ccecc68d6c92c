"""Whether a range of Service addresses may go. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sampan.api.reading import part, text_map, texts
from sampan.api.types import Obj

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
#: in one go, of addresses with networks
_COMPARISONS = 5000
_MOST_ADDRESSES = 500
_ALLOCATOR = "ipallocator.k8s.io"


def networks_of(cidr: Obj) -> list[Network]:
    """What cannot be read is no network."""
    found: list[Network] = []
    for each in texts(part(cidr, "spec"), "cidrs"):
        try:
            found.append(_network(each))
        except ValueError:
            continue
    return found


@lru_cache(maxsize=4096)
def _network(written: str) -> Network:
    return ipaddress.ip_network(written)


def addresses_at_once(networks: int) -> int:
    """How many addresses may be compared with so many networks in one go: some milliseconds of work."""
    return max(1, min(_MOST_ADDRESSES, _COMPARISONS // max(1, networks)))


def contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and outer.prefixlen <= inner.prefixlen and outer.overlaps(inner)


def overlapping(cidr: Obj, all_cidrs: Iterable[Obj]) -> list[Obj]:
    """Those that contain a part of it, or are contained in it."""
    own = networks_of(cidr)
    return [other for other in all_cidrs if any(_overlap(mine, each) for mine in own for each in networks_of(other))]


def _overlap(one: Network, other: Network) -> bool:
    """What they have of the shorter prefix is the same."""
    shift = one.max_prefixlen - min(one.prefixlen, other.prefixlen)
    return one.version == other.version and int(one.network_address) >> shift == int(other.network_address) >> shift


def has_parent(cidr: Obj, others: Sequence[Obj]) -> bool:
    """Whether each of its networks lies in one of another range, which can take over the addresses."""
    return all(
        any(contains(outer, inner) for other in others for outer in networks_of(other)) for inner in networks_of(cidr)
    )


def address_of(ip_address: Obj) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Of an IPAddress that the API server gave out; None: it is somebody else's."""
    if text_map(ip_address["metadata"], "labels").get(_MANAGED_BY) != _ALLOCATOR:
        return None
    try:
        return ipaddress.ip_address(ip_address["metadata"]["name"])
    except ValueError:
        return None


def is_needed(networks: Sequence[Network], others: Sequence[Network], ip_address: Obj) -> bool:
    """Whether the address lies in ``networks``, and in none of the ``others``."""
    address = address_of(ip_address)
    if address is None:
        return False
    return any(address in each for each in networks) and not any(address in each for each in others)
