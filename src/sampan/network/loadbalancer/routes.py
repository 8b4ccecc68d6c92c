"""By which interface the kernel reaches an address, from its tables in ``/proc/net`` as text. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from sampan.api.loadbalancing import Address
from sampan.records import dataclass

_UP, _REJECT = 0x1, 0x200
_LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class Route:
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    metric: int
    interface: str


def parse_ipv4(lines: Iterable[str]) -> Iterator[Route]:
    for words in (line.split() for line in lines):
        if len(words) < 8 or words[0] == "Iface":
            continue
        flags = int(words[3], 16)
        if flags & _UP and not flags & _REJECT:
            base, mask = (int.from_bytes(bytes.fromhex(words[place]), "little") for place in (1, 7))
            yield Route(ipaddress.IPv4Network((base, mask.bit_count())), int(words[6]), words[0])


def parse_ipv6(lines: Iterable[str]) -> Iterator[Route]:
    for words in (line.split() for line in lines):
        if len(words) < 10 or words[9] == _LOOPBACK:
            continue
        flags = int(words[8], 16)
        network = ipaddress.IPv6Network((int(words[0], 16), int(words[1], 16)), strict=False)
        if flags & _UP and not flags & _REJECT and not network.is_multicast:
            yield Route(network, int(words[5], 16), words[9])


def interface_for(address: Address, routes: Iterable[Route]) -> str:
    """ "": the address is out of reach."""
    fitting = (each for each in routes if each.network.version == address.version and address in each.network)
    best = max(fitting, key=lambda each: (each.network.prefixlen, -each.metric), default=None)
    return "" if best is None else best.interface
