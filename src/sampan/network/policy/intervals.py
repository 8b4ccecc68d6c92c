"""Sets of addresses and of ports as disjoint ranges: what blocks with exceptions, and lists of ports, come to. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sampan.api.validation.addresses import parse_cidr


class Span(NamedTuple):
    """Addresses of one family from ``first`` to ``last``, both included, as numbers."""

    version: int
    first: int
    last: int

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return False
        return address.version == self.version and self.first <= int(address) <= self.last

    def __str__(self) -> str:
        make = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        first, last = make(self.first), make(self.last)
        return str(first) if first == last else f"{first}-{last}"


def block(cidr: str, without: Iterable[str] = ()) -> list[Span]:
    """The addresses of ``cidr`` that are in none of ``without``. Raises ValueError: it is no range of addresses.

    A range in ``without`` that is none is a fault too: to leave it out would open what was to stay closed.
    """
    whole = _span(cidr)
    left = [whole]
    for hole in map(_span, without):
        left = [part for span in left for part in _minus(span, hole)]
    return left


def _span(text: str) -> Span:
    parsed = parse_cidr(text)
    if parsed is None:
        raise ValueError(f"{text[:100]!r} is no range of addresses")
    network = parsed[1]
    return Span(network.version, int(network.network_address), int(network.broadcast_address))


def _minus(span: Span, hole: Span) -> list[Span]:
    if span.version != hole.version or hole.last < span.first or hole.first > span.last:
        return [span]
    left = []
    if hole.first > span.first:
        left.append(Span(span.version, span.first, hole.first - 1))
    if hole.last < span.last:
        left.append(Span(span.version, hole.last + 1, span.last))
    return left


def united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same addresses, in order, as few disjoint spans."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and found[-1].version == span.version and span.first <= found[-1].last + 1:
            found[-1] = Span(span.version, found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    return tuple(found)


def united_ports(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same ports, in order, as few disjoint ranges."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def holds(spans: Sequence[Span], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(address in span for span in spans)
