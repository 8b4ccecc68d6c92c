"""What the edge of one machine is told when it starts."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from sampan.edge.haproxy.render import Settings
from sampan.records import dataclass

_SPARE_FILES = 500
_MOST_CONNECTIONS = 20_000


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """``directory``: of the program's configuration; ``run``: of its sockets; ``log``: what it writes. ``dns``:
    "address:port" of the cluster's names. ``classes``: names of classes that are served though no IngressClass has
    them."""

    directory: Path
    run: Path
    log: Path
    instance: str
    node_name: str
    address: str
    http_port: int = 80
    https_port: int = 443
    #: "": every address of the machine
    listen: str = ""
    dns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def settings(config: EdgeConfig, files: Path, certificate: str) -> Settings:
    """Of this machine: whoever it may run as, and how much of it."""
    import resource

    user = _user() if os.geteuid() == 0 else ""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files_allowed = most if most != resource.RLIM_INFINITY else 1 << 20
    # A connection is two: the client's and the back end's. The program counts some of its own.
    connections = min(_MOST_CONNECTIONS, max(100, (files_allowed - _SPARE_FILES) * 2 // 5))
    return Settings(
        files=str(files),
        run=str(config.run),
        name=config.instance,
        user=user,
        group=user and _group(user),
        chroot=str(config.directory / "empty") if user else "",
        threads=min(os.cpu_count() or 1, 4),
        connections=connections,
        resolvers=config.dns,
        own=(config.address,) if config.address else (),
        ipv6=Path("/proc/net/if_inet6").exists(),
        default_certificate=certificate,
    )


def _user() -> str:
    """The package's own user, else nobody."""
    for name in ("haproxy", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return ""


def _group(user: str) -> str:
    import grp

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
