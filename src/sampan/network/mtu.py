"""How large a packet of this machine's pods may be: as large as one that leaves it by its default route.

Of the network that this process is in: /sys may show another one's interfaces, so it is not asked.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from pathlib import Path

USUAL = 1500
#: Below that there is no IPv6; above it no IPv4 packet.
_LEAST, _MOST = 1280, 65535
_SIOCGIFMTU = 0x8921
_UP = 0x1


def of_default_route(routes: Path = Path("/proc/net/route"), routes6: Path = Path("/proc/net/ipv6_route")) -> int:
    """``USUAL`` where there is no such route, or its interface has one that pods cannot have."""
    interface = _default_ipv4(_lines(routes)) or _default_ipv6(_lines(routes6))
    size = _mtu(interface) if interface else 0
    return size if _LEAST <= size <= _MOST else USUAL


def _lines(table: Path) -> list[list[str]]:
    with contextlib.suppress(OSError):
        return [line.split() for line in table.read_text().splitlines()]
    return []


def _default_ipv4(table: list[list[str]]) -> str:
    """Interface, destination, gateway, flags, ..., metric, mask."""
    found = [
        (int(row[6]), row[0]) for row in table[1:]
        if len(row) > 7 and row[1] == row[7] == "00000000" and int(row[3], 16) & _UP
    ]  # fmt: skip
    return min(found)[1] if found else ""


def _default_ipv6(table: list[list[str]]) -> str:
    """Destination, its bits, ..., metric (6th), flags (9th), interface. Where there is none, lo refuses."""
    found = [
        (int(row[5], 16), row[9]) for row in table
        if len(row) > 9 and row[0] == "0" * 32 and row[1] == "00" and int(row[8], 16) & _UP and row[9] != "lo"
    ]  # fmt: skip
    return min(found)[1] if found else ""


def _mtu(interface: str) -> int:
    """0: it is gone."""
    asked = struct.pack("16si12x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFMTU, asked)
        except OSError:
            return 0
    return int(struct.unpack_from("16si", answer)[1])
