"""Which ports of listeners belong to another program, found out before ours is replaced. Effects only.

A program that starts and does not get one of its ports makes the one that runs stop listening, for two seconds, at all
of its ports; so it is not asked to. The look never listens. It binds as the program does (``SO_REUSEPORT``) where the
program may listen already; elsewhere alone, for two programs that share a port get each some of the connections.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Container, Iterable

from sampan.edge.model import Listener


def taken(listeners: Iterable[Listener], *, ipv6: bool, own: Container[int]) -> frozenset[tuple[str, int]]:
    """Address and port of those that cannot be had. ``ipv6``: whether "" is every address of both families. ``own``:
    ports where our program may listen already."""
    wanted = {(each.address, each.port) for each in listeners}
    return frozenset(each for each in wanted if _is_taken(*each, ipv6, each[1] in own))


def _is_taken(address: str, port: int, ipv6: bool, shared: bool) -> bool:
    places = [address] if address else ["0.0.0.0", "::"] if ipv6 else ["0.0.0.0"]
    return any(_is_in_use(place, port, shared) for place in places)


def _is_in_use(address: str, port: int, shared: bool) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
            probe.bind((address, port))
    except OSError as error:  # whatever else it is, the program says
        return error.errno == errno.EADDRINUSE
    return False
