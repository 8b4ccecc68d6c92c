"""What the ConfigMap ``kube-system/kube-dns`` says: kube-dns' own keys, and a few more. Pure; never raises.

A key ``Corefile`` is read as CoreDNS has it (``corefile``); the other keys go before what it says. ``stubDomains`` and
``upstreamNameservers`` are JSON, as kube-dns has them. A key that is not understood keeps its default and is told of;
the others count.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import orjson

from sampan.api.reading import text_map
from sampan.api.types import Obj
from sampan.network.dns.names import Malformed, labels_of
from sampan.records import dataclass

CONFIG_MAP_NAMESPACE = "kube-system"
CONFIG_MAP = "kube-dns"
#: of CoreDNS: the ConfigMap, and its key
CORE_MAP, CORE_FILE = "coredns", "Corefile"

Policy: TypeAlias = Literal["sequential", "random", "round_robin"]

_PORT = 53
_MAX_SERVERS = 15  # as CoreDNS' forward
_MAX_DOMAINS = 100
_MAX_HOSTS = 2000
#: of one host
_MAX_ADDRESSES = 64
_MAX_SECONDS = 3600
_MAX_TEXT = 64 * 1024


class NameServer(NamedTuple):
    address: str
    port: int = _PORT

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """``stub_domains``: the longest name first. ``upstreams`` (): those of the node's resolv.conf."""

    stub_domains: tuple[tuple[str, tuple[NameServer, ...]], ...] = ()
    upstreams: tuple[NameServer, ...] = ()
    policy: Policy = "sequential"
    cache_seconds: int = 30
    negative_seconds: int = 5
    #: for how long an answer that has ended is given when no server answers
    stale_seconds: int = 0
    #: follow the search path of pods for them
    autopath: bool = False
    #: addresses of names outside of the cluster, in lower case, that no name server is asked for
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def servers_for(self, name: str) -> tuple[NameServer, ...]:
        """Of the stub domain that a name lies in; (): it lies in none."""
        for domain, servers in self.stub_domains:
            if name == domain or name.endswith("." + domain):
                return servers
        return ()


def parse_options(config_map: Obj | None, domain: str = "cluster.local") -> tuple[Options, tuple[str, ...]]:
    """The options, and what was wrong, a sentence a key. ``domain``: the cluster's."""
    data = dict(text_map(config_map or {}, "data"))
    written, faults = _corefile(data.pop(CORE_FILE, ""), domain)
    found = {**written, **_read(data, faults)}
    return Options(**found), tuple(faults[:10])


def _corefile(text: str, domain: str) -> tuple[dict[str, Any], list[str]]:
    if not text:
        return {}, []
    # Late: most clusters have none, and then none of this in memory.
    from sampan.network.dns import corefile

    if len(text) > _MAX_TEXT:
        return {}, [f"{CORE_FILE}: too long"]
    data, told = corefile.translate(text, domain)
    wrong: list[str] = []
    found = _read(data, wrong)
    return found, [*told, *(f"{CORE_FILE}: {fault}" for fault in wrong)]


def _read(data: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in sorted(data.items()):
        known = _KEYS.get(key)
        if known is None:
            faults.append(f"{key[:100]}: nothing acts on this key; known are {', '.join(_KEYS)}")
            continue
        name, read = known
        try:
            if len(value) > _MAX_TEXT:
                raise ValueError("too long")
            found[name] = read(value)
        except ValueError as error:
            faults.append(f"{key}: {error}")
    return found


def _stub_domains(value: str) -> tuple[tuple[str, tuple[NameServer, ...]], ...]:
    read = _json(value)
    if not isinstance(read, dict) or len(read) > _MAX_DOMAINS:
        raise ValueError(f'write at most {_MAX_DOMAINS} domains like {{"corp.example": ["192.0.2.53"]}}')
    domains = {_domain(name): _servers(servers) for name, servers in read.items()}
    return tuple(sorted(domains.items(), key=lambda each: -len(each[0])))


def _domain(name: str) -> str:
    lowered = name.strip().rstrip(".").lower()
    try:
        labels_of(lowered)
    except Malformed:
        raise ValueError(f'"{name[:100]}" is not a domain') from None
    return lowered


def _upstreams(value: str) -> tuple[NameServer, ...]:
    return _servers(_json(value))


def _servers(read: Any) -> tuple[NameServer, ...]:
    if not isinstance(read, list) or not 0 < len(read) <= _MAX_SERVERS:
        raise ValueError(f'write one to {_MAX_SERVERS} name servers like ["192.0.2.53", "192.0.2.54:5353"]')
    return tuple(_server(entry) for entry in read)


_WITH_PORT = re.compile(r"^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$")


def _server(entry: Any) -> NameServer:
    words = entry.strip() if isinstance(entry, str) else ""
    match = _WITH_PORT.match(words)
    address, port = (match[1] or match[2], int(match[3])) if match else (words, _PORT)
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f'"{words[:100]}" is not the address of a name server') from None
    if parsed.is_multicast or parsed.is_unspecified or not 0 < port < 1 << 16:
        raise ValueError(f'"{words}" is not the address of a name server')
    return NameServer(str(parsed), port)


def _json(value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ValueError("not JSON") from None


def _policy(value: str) -> Policy:
    for policy in get_args(Policy):
        if value == policy:
            return policy  # type: ignore[no-any-return]  # one of them
    raise ValueError(f"choose {', '.join(get_args(Policy))}")


def _seconds(value: str) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 6 or int(value) > _MAX_SECONDS:
        raise ValueError(f"write 0 to {_MAX_SECONDS} seconds")
    return int(value)


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("write true or false")
    return value == "true"


def _hosts(value: str) -> dict[str, tuple[str, ...]]:
    """As /etc/hosts has it."""
    found: dict[str, list[str]] = {}
    for line in value.splitlines():
        address, *listed = line.partition("#")[0].split() or [""]
        if not address:
            continue
        try:
            ip = str(ipaddress.ip_address(address))
        except ValueError:
            ip = "%"
        if "%" in ip:  # an interface of one machine, which no answer can carry
            raise ValueError(f'"{address[:100]}" is not an address') from None
        for name in listed:
            found.setdefault(_domain(name), []).append(ip)
    hosts = {name: tuple(dict.fromkeys(ips)) for name, ips in found.items()}
    if len(hosts) > _MAX_HOSTS:
        raise ValueError(f"more than {_MAX_HOSTS} names")
    if any(len(ips) > _MAX_ADDRESSES for ips in hosts.values()):
        raise ValueError(f"more than {_MAX_ADDRESSES} addresses of one name")
    return hosts


_KEYS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "stubDomains": ("stub_domains", _stub_domains),
    "upstreamNameservers": ("upstreams", _upstreams),
    "upstreamPolicy": ("policy", _policy),
    "cacheSeconds": ("cache_seconds", _seconds),
    "negativeCacheSeconds": ("negative_seconds", _seconds),
    "serveStaleSeconds": ("stale_seconds", _seconds),
    "autopath": ("autopath", _flag),
    "hosts": ("hosts", _hosts),
}
