"""Ordinary Services without a chain: endpoints as elements of maps that rules of the fixed part look up. Pure.

A new connection draws a place below a fixed number, and the map says which endpoint has it, by the Service's address
and port. So a change of an endpoint is elements that go and come: to the kernel a new rule, or an element that leads to
a chain, costs a look at everything in the table, and data costs what it is. Of two Services that claim one address the
first by name has it, where both have as many places; otherwise the one with fewer.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.proxy.model import Endpoint
from sampan.network.proxy.nftables.sets import PLACES, SPREAD_PROTOCOLS

#: More endpoints than this have a chain.
MOST = 60


def places(count: int) -> int:
    """Over how many places so many endpoints are spread: none gets a quarter more than another."""
    if count <= 3:
        return PLACES[count - 1]
    if 12 % count == 0:
        return 12
    return 60 if count <= 15 else 360


def is_spread(protocol: str, endpoints: Sequence[Endpoint]) -> bool:
    return protocol in SPREAD_PROTOCOLS and len(endpoints) <= MOST


def targets(endpoints: Sequence[Endpoint]) -> list[tuple[int, str]]:
    """Every place, and who has it."""
    count = len(endpoints)
    each = [f"{endpoint.ip} . {endpoint.port}" for endpoint in endpoints]
    return [(place, each[place % count]) for place in range(places(count))]
