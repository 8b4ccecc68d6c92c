"""The addresses of simulated nodes: one each, which nothing outside of this machine has. Pure.

The API server reaches each at the loopback address with the same last three numbers
(``sampan.server.streaming.locate``): Linux takes connections to all of 127.0.0.0/8.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Final

#: for benchmarks of networks (RFC 2544): on no network that a pod could want to reach
ADDRESSES: Final = IPv4Network("198.18.0.0/15")
_FIRST: Final = int(ADDRESSES.network_address) + 1


def addresses(count: int) -> list[str]:
    """Of so many nodes, in their order."""
    return [str(IPv4Address(_FIRST + number)) for number in range(count)]


def loopback(address: str) -> str:
    return f"127.{address.partition('.')[2]}"


def number_of(address: str) -> int:
    """Which node has this address, or the loopback address that stands for it; less than 0: none."""
    try:
        return int(IPv4Address(f"198.{address.partition('.')[2]}")) - _FIRST
    except ValueError:
        return -1
