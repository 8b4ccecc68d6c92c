"""Ports and endpoints as a person writes them for a cluster: read, written and checked.

Used by the settings of a cluster and of a machine, and by ``instance``. Pure: no name is looked up, no port is tried.
"""

from __future__ import annotations

import ipaddress
import re

from sampan.cluster.errors import ClusterError

_DNS_NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def split_endpoint(text: str, port: int) -> tuple[str, int]:
    """``host:port``, ``host``, ``[v6]:port`` or ``v6``; ``port`` when none is given. Raises ClusterError."""
    matched = re.fullmatch(r"(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?", text)
    host, given = (matched[1] or matched[2], matched[3]) if matched else (text, None)
    found = int(given) if given else port
    if not is_host(host) or not 1 <= found <= 65535:
        raise ClusterError(
            f"--control-plane-endpoint {text!r} is not a host and a port", fix="write it like api.example.com:6443"
        )
    return host, found


def join_endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_host(text: str) -> bool:
    """A DNS name, of which the first label may be ``*``, or an address."""
    return bool(_DNS_NAME.fullmatch(text)) or is_address(text)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_ports(ports: dict[str, int], node_ports: tuple[int, int]) -> None:
    """``ports`` by the options that choose them. Raises ClusterError."""
    for option, port in ports.items():
        if not 1 <= port <= 65535:
            raise ClusterError(f"{option} {port} is not a port", fix="choose one from 1 to 65535")
        if node_ports[0] <= port <= node_ports[1]:
            raise ClusterError(
                f"{option} {port} is inside the node port range", fix="choose a port outside of --node-port-range"
            )
