"""What this machine calls itself: its node name and the address others reach it at."""

from __future__ import annotations

import ipaddress
import re
import socket

from sampan.cluster.errors import ClusterError

_NOT_A_NAME = re.compile(r"[^a-z0-9.-]+")


def node_name() -> str:
    """The host name as a node name (RFC 1123 subdomain). Raises ClusterError when nothing of it is left."""
    name = _NOT_A_NAME.sub("-", socket.gethostname().lower()).strip("-.")
    if not name:
        raise ClusterError(f"host name {socket.gethostname()!r} cannot be a node name", fix="give one with --node-name")
    return name


def node_address() -> str:
    """The source address of the default route; without one, of the first route that is not loopback.

    A UDP socket is connected, which sends nothing, to ask the kernel's routing table.
    """
    for target in ("198.51.100.1", "10.255.255.255", "192.168.255.255", "172.31.255.255"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            address: str = probe.getsockname()[0]
            if not ipaddress.ip_address(address).is_loopback:
                return address
    raise ClusterError(
        "this machine has no network address but loopback, and pods cannot reach that",
        fix="give an address of an interface with --node-address",
    )
