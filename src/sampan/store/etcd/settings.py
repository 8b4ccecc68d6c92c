"""Where etcd is and how it is spoken to; made by ``server.config`` and ``cluster.etcd``."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

from sampan.records import dataclass

PORT: Final = 2379
SCHEME: Final = "etcd://"


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """``endpoints``: ``host:port`` of members of one cluster. With ``ca`` every one of them speaks TLS; ``cert`` and
    ``key``: who we are there. ``username`` and ``password`` are etcd's own way to say that."""

    endpoints: tuple[str, ...]
    #: before every key there
    prefix: str = ""
    #: what the store's keys begin with, and the prefix stands for: ``/registry`` of the server
    strip: str = ""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str = ""
    password: str = ""
    #: how long a read or a write is tried, on one member after the other
    call_seconds: float = 15.0
    #: how long ``open`` waits for a cluster that is still starting
    open_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("etcd has no endpoint: name one as host:port")
        if bool(self.cert) != bool(self.key):
            raise ValueError("a client certificate for etcd needs both its certificate and its key")


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port to listen at, of ``192.0.2.1:2379`` or ``[::1]:2379``. Raises ValueError."""
    host, _, port = text.rpartition(":")
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]") if host.startswith("[") else host)
    except ValueError:
        host = ""
    if not host or (":" in host) != host.startswith("[") or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no address of this machine and a port: write it like 127.0.0.1:{PORT}")
    return host.strip("[]"), int(port)


def parse_endpoints(text: str) -> tuple[str, ...]:
    """Of ``etcd://a:2379,b:2379``, or of URLs as upstream's ``--etcd-servers`` has them. Raises ValueError."""
    found: list[str] = []
    for part in text.removeprefix(SCHEME).split(","):
        one = part.strip().removeprefix("https://").removeprefix("http://").rstrip("/")
        host, colon, port = one.rpartition(":")
        if not colon or (one.endswith("]")):
            host, port = one, str(PORT)
        if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in one or "@" in one:
            raise ValueError(f"{part.strip()!r} is no endpoint of etcd: write it like 192.0.2.1:{PORT}")
        if ":" in host and not host.startswith("["):
            raise ValueError(f"{part.strip()!r}: write an IPv6 address in brackets, like [2001:db8::1]:{PORT}")
        found.append(f"{host}:{port}")
    return tuple(dict.fromkeys(found))
