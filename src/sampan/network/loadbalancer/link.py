"""The node's network as ``announcer`` sees it: routes, and raw sockets on one interface. Linux only; needs root."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sampan.api.loadbalancing import Address
from sampan.network.loadbalancer import packets, routes

_SO_ATTACH_FILTER = 26
#: Classic BPF: of IPv6 frames those with ICMPv6 right behind the header, of type solicitation or advertisement.
_NEIGHBOUR_FILTER = (
    (0x30, 0, 0, 20), (0x15, 0, 4, 58), (0x30, 0, 0, 54), (0x15, 1, 0, packets.SOLICITATION),
    (0x15, 0, 1, packets.ADVERTISEMENT), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
)  # fmt: skip


class Link(Protocol):
    """Raises OSError for what the node does not have."""

    def interface_for(self, address: Address) -> str:
        """ "": the address is out of reach. May take a moment."""
        ...

    def open(self, interface: str, version: int) -> socket.socket:
        """Frames of ARP (4) or of neighbour discovery (6) of an Ethernet interface."""
        ...

    def join(self, interface: str, address: Address) -> socket.socket | None:
        """What must stay open for questions for the address to arrive; None: nothing."""
        ...


class KernelLink:
    def interface_for(self, address: Address) -> str:
        if address.version == 4:
            return routes.interface_for(address, routes.parse_ipv4(_lines("route")))
        return routes.interface_for(address, routes.parse_ipv6(_lines("ipv6_route")))

    def open(self, interface: str, version: int) -> socket.socket:
        protocol = packets.ARP if version == 4 else packets.IPV6
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            if version == 6:
                _attach(made, _NEIGHBOUR_FILTER)
            made.bind((interface, protocol))
            hardware = made.getsockname()
            if hardware[3] != 1 or len(hardware[4]) != 6:
                raise OSError(f"{interface} is not an Ethernet interface")
        except OSError:
            made.close()
            raise
        return made

    def join(self, interface: str, address: Address) -> socket.socket | None:
        if address.version == 4:
            return None
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            group = packets.solicited_node(address.packed)
            member = group + struct.pack("@I", socket.if_nametoindex(interface))
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        except OSError:
            made.close()
            raise
        return made


def _lines(table: str) -> Iterable[str]:
    """Of this thread's network; an interface of another family has no table."""
    try:
        with Path("/proc/thread-self/net", table).open() as file:
            yield from file
    except FileNotFoundError:
        return


def _attach(made: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code)))
