"""The text of a resolv.conf, as the kubelet reads it. Pure. For the node (dnsPolicy Default) and the cluster DNS."""

from __future__ import annotations

from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class ResolvConf:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> ResolvConf:
    """Every server; the last search list (``domain`` is its older form), the last options."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = tuple(words[1:])
        elif words[0] == "options":
            options = tuple(words[1:])
    return ResolvConf(tuple(servers), searches, options)
