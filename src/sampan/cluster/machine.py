"""What this machine calls itself: its node name and the address others reach it at."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path

from sampan.cluster.errors import ClusterError

#: Where Debian keeps what only root runs; a user's PATH, and that of ``su`` without ``-``, may lack them.
SBIN_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_NOT_A_NAME = re.compile(r"[^a-z0-9.-]+")


def node_name() -> str:
    """The host name as a node name (RFC 1123 subdomain). Raises ClusterError when nothing of it is left."""
    name = _NOT_A_NAME.sub("-", socket.gethostname().lower()).strip("-.")
    if not name:
        raise ClusterError(f"host name {socket.gethostname()!r} cannot be a node name", fix="give one with --node-name")
    return name


def require_root(command: str) -> None:
    """Raises ClusterError for anybody else, before a half of the work is done."""
    if os.geteuid() != 0:
        raise ClusterError("not running as root", fix=f"`sudo {command}`: containers, cgroups and nftables need root")


def complete_path() -> None:
    """Adds the directories of root's programs to PATH, for this process and those that it starts."""
    listed = [name for name in os.environ.get("PATH", os.defpath).split(os.pathsep) if name]
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([*listed, *SBIN_DIRECTORIES]))


def own_addresses(table: Path = Path("/proc/net/fib_trie")) -> list[str]:
    """The addresses of this machine's interfaces but loopback's, as the kernel's routing table has them; sorted."""
    found, last = set(), ""
    for line in table.read_text().splitlines():
        words = line.split()
        if words[0] == "|--":
            last = words[1]
        elif words[0] == "/32" and words[-1] == "LOCAL" and not ipaddress.ip_address(last).is_loopback:
            found.add(last)
    return sorted(found, key=ipaddress.IPv4Address)


def check_own(address: str) -> None:
    """Raises ClusterError for an address that no interface of this machine has: nobody would reach the node at it."""
    try:
        own = own_addresses()
    except OSError:  # a kernel without that table: a wrong address is found when the server listens
        return
    if address not in own:
        raise ClusterError(
            f"--node-address {address} is not an address of this machine",
            fix=f"choose {', '.join(own[:-1])} or {own[-1]}"
            if len(own) > 1
            else f"choose {own[0]}"
            if own
            else "give an interface that address first",
        )


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
