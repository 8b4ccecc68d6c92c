"""Sets of addresses and of ports as disjoint ranges: what blocks with exceptions, and lists of ports, come to. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sampan.api.validation.addresses import parse_cidr

_BITS = re.compile("0|[1-9][0-9]{0,2}", re.ASCII)


class NotARange(ValueError):
    """The message says what is none."""


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
    """The addresses of ``cidr`` that are in none of ``without``. Raises NotARange.

    A range in ``without`` that is none is a fault too: to leave it out would open what was to stay closed.
    """
    whole = _span(cidr)
    left, first = [], whole.first
    for hole in united(map(_span, without)):
        if hole.version != whole.version or hole.last < first:
            continue
        if hole.first > whole.last:
            break
        if hole.first > first:
            left.append(Span(whole.version, first, hole.first - 1))
        first = hole.last + 1
    return [*left, Span(whole.version, first, whole.last)] if first <= whole.last else left


def _span(text: str) -> Span:
    """What is written as it should be is read fast: there may be thousands."""
    head, _, bits = text.partition("/")
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in head else socket.AF_INET, head)
    except (OSError, ValueError):
        packed = b""
    size = len(packed) * 8
    if packed and _BITS.fullmatch(bits) and int(bits) <= size:
        rest = (1 << (size - int(bits))) - 1
        first = int.from_bytes(packed, "big") & ~rest
        return Span(4 if size == 32 else 6, first, first | rest)
    parsed = parse_cidr(text)
    if parsed is None:
        raise NotARange(f"{text[:100]} is no range of addresses")
    network = parsed[1]
    return Span(network.version, int(network.network_address), int(network.broadcast_address))


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
