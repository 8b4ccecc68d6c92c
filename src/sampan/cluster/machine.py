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


def own_addresses(table: Path = Path("/proc/net/fib_trie"), table6: Path = Path("/proc/net/if_inet6")) -> list[str]:
    """The addresses of this machine's interfaces but loopback's and those of a link, as the kernel has them; sorted."""
    found, last = set(), ""
    for line in table.read_text().splitlines():
        words = line.split()
        if words[0] == "|--":
            last = words[1]
        elif words[0] == "/32" and words[-1] == "LOCAL" and not ipaddress.ip_address(last).is_loopback:
            found.add(last)
    return [*sorted(found, key=ipaddress.IPv4Address), *_own_ipv6(table6)]


def _own_ipv6(table: Path) -> list[str]:
    try:
        lines = table.read_text().splitlines()
    except OSError:  # a kernel without IPv6
        return []
    found = {ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in lines}
    return [str(each) for each in sorted(found) if not each.is_loopback and not each.is_link_local]


def check_own(address: str) -> None:
    """Raises ClusterError for an address that no interface of this machine has: nobody would reach the node at it."""
    try:
        own = own_addresses()
    except OSError:  # a kernel without that table: a wrong address is found when the server listens
        return
    if str(ipaddress.ip_address(address)) not in own:
        raise ClusterError(
            f"--node-address {address} is not an address of this machine",
            fix=f"choose {', '.join(own[:-1])} or {own[-1]}"
            if len(own) > 1
            else f"choose {own[0]}"
            if own
            else "give an interface that address first",
        )


_TARGETS = {
    4: ("198.51.100.1", "10.255.255.255", "192.168.255.255", "172.31.255.255"),
    6: ("2001:db8::1", "2000::1", "fd00::1"),
}


def node_address(version: int = 4) -> str:
    """The source address of the default route; without one, of the first route that is not loopback.

    A UDP socket is connected, which sends nothing, to ask the kernel's routing table.
    """
    for target in _TARGETS[version]:
        try:
            with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                address = ipaddress.ip_address(str(probe.getsockname()[0]))
        except OSError:
            continue
        if not address.is_loopback and not (version == 6 and address.is_link_local):
            return str(address)
    if version == 6:
        own = [text for text in own_addresses() if ":" in text]
        if own:
            return own[0]
        raise ClusterError(
            "this machine has no IPv6 address that others could reach", fix="give an interface one, or leave IPv6 out"
        )
    raise ClusterError(
        "this machine has no network address but loopback, and pods cannot reach that",
        fix="give an address of an interface with --node-address",
    )
