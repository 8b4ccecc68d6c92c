"""What a Corefile asks for (ConfigMap ``kube-system/coredns``), in the keys that ``options`` knows. Pure; never raises.

Who has run CoreDNS writes stub domains, name servers and hosts there. What has no meaning here and needs none (logs,
health, the cluster's own zone) is passed over in silence; what would have one and is not done is told by name and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Final

import orjson

from sampan.records import dataclass

KEY: Final = "Corefile"

_MAX_TOKENS: Final = 20_000
_MAX_FAULTS: Final = 10
#: Nothing of these is missed: they are on, or there is nothing of the kind that could go wrong.
_NEEDLESS: Final = frozenset({
    "errors", "health", "ready", "prometheus", "loop", "reload", "loadbalance", "log", "bufsize", "cancel", "debug",
})  # fmt: skip
#: Of ``forward``: how CoreDNS tends its connections.
_NEEDLESS_OF_FORWARD: Final = frozenset({
    "max_concurrent", "max_fails", "expire", "health_check", "prefer_udp", "max_idle_conns", "max_connect_attempts",
})  # fmt: skip
_NEEDLESS_OF_HOSTS: Final = frozenset({"ttl", "fallthrough", "no_reverse", "reload"})
_NEEDLESS_OF_KUBERNETES: Final = frozenset({"fallthrough", "ttl", "ignore", "kubeconfig", "endpoint_pod_names"})
_STALE_SECONDS: Final = 3600
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|#[^\n]*|(\n)|([^\s"#][^\s]*)')


@dataclass(frozen=True, slots=True)
class Directive:
    """``words``: its name and arguments."""

    line: int
    words: tuple[str, ...]
    body: tuple[Directive, ...] = ()


@dataclass(slots=True)
class _Found:
    data: dict[str, str] = field(default_factory=dict)
    stubs: dict[str, list[str]] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, directive: Directive, text: str) -> None:
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(f"{KEY}: line {directive.line}: {text}"[:400])


def translate(text: str, domain: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Keys of options with their values, and what is not done. ``domain``: the cluster's."""
    found = _Found()
    try:
        blocks = parse(text)
    except ValueError as error:
        return {}, (f"{KEY}: {error}",)
    for block in blocks:
        zones = _zones(block, found)
        for directive in block.body if zones else ():
            _directive(directive, zones, domain, found)
    if found.stubs:
        found.data["stubDomains"] = orjson.dumps(found.stubs).decode()
    if found.hosts:
        found.data["hosts"] = "\n".join(found.hosts)
    return found.data, tuple(found.faults)


# Reading


def parse(text: str) -> list[Directive]:
    """Server blocks; each one's words are its zones. Raises ValueError."""
    return list(_block(_lines(text), 0))


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and tokens of each line that has any."""
    number, tokens = 1, list[str]()
    for count, match in enumerate(_TOKEN.finditer(text)):
        quoted, end, word = match.groups()
        if end:
            if tokens:
                yield number, tokens
            number, tokens = number + 1, []
        elif quoted is not None:
            tokens.append(quoted.replace('\\"', '"'))
            number += quoted.count("\n")
        elif word:
            tokens.append(word)
        if count > _MAX_TOKENS:
            raise ValueError("it is too long")
    if tokens:
        yield number, tokens


def _block(lines: Iterator[tuple[int, list[str]]], depth: int) -> Iterator[Directive]:
    """Until its brace is closed, or the text ends."""
    if depth > 3:
        raise ValueError("braces are nested deeper than three")
    waiting: list[str] = []
    for number, tokens in lines:
        if tokens == ["}"]:
            if not depth or waiting:
                raise ValueError(f"line {number}: a brace is closed that was not opened")
            return
        if tokens[-1] == "{":
            if depth and len(tokens) == 1:
                raise ValueError(f"line {number}: a brace is opened, and nothing says of what")
            body = tuple(_block(lines, depth + 1))
            yield Directive(number, (*waiting, *tokens[:-1]), body)
            waiting = []
        elif not depth:
            waiting += tokens  # zones may stand on several lines
        elif "{" in tokens or "}" in tokens:
            raise ValueError(f"line {number}: a brace stands at the end of a line, or alone")
        else:
            yield Directive(number, tuple(tokens))
    if depth or waiting:
        raise ValueError("it ends before a brace is closed")


# What it means


def _zones(block: Directive, found: _Found) -> list[str]:
    """In lower case without a last dot, "" for the root."""
    zones = []
    for word in " ".join(block.words).replace(",", " ").split():
        scheme, _, rest = word.rpartition("://")
        name, _, port = rest.partition(":")
        if word.startswith("("):
            found.fault(block, "snippets are not read")
        elif scheme not in ("", "dns") or port not in ("", "53"):
            found.fault(block, f"{word}: names are served by DNS at port 53 alone")
        else:
            zones.append(name.rstrip(".").lower())
    return zones


def _directive(directive: Directive, zones: Sequence[str], domain: str, found: _Found) -> None:
    name = directive.words[0]
    if name in _NEEDLESS:
        return
    if name == "forward":
        _forward(directive, zones, found)
    elif name == "kubernetes":
        _kubernetes(directive, zones, domain, found)
    elif name == "cache":
        if "" in zones:  # others have the same
            _cache(directive, domain, found)
    elif name == "hosts" and "" in zones:
        _hosts(directive, found)
    elif name == "autopath" and directive.words[1:] == ("@kubernetes",) and "" in zones:
        found.data["autopath"] = "true"
    else:
        found.fault(directive, f"nothing acts on {' '.join(directive.words)[:100]!r} here")


def _forward(directive: Directive, zones: Sequence[str], found: _Found) -> None:
    if len(directive.words) < 3:
        found.fault(directive, "forward names no server")
        return
    _, origin, *servers = directive.words
    named = [server.removeprefix("dns://") for server in servers]
    if any("://" in server for server in named):
        found.fault(directive, f"forward to {' '.join(servers)}: name servers are asked by DNS alone")
        return
    for option in directive.body:
        if option.words[0] == "policy" and len(option.words) == 2:
            found.data["upstreamPolicy"] = option.words[1]
        elif option.words[0] not in _NEEDLESS_OF_FORWARD:
            found.fault(option, f"nothing acts on {option.words[0]!r} of forward here")
    if any(server.startswith("/") for server in named):
        if named != ["/etc/resolv.conf"]:
            found.fault(directive, "forward to a file: of files the node's /etc/resolv.conf alone is read")
        return
    below = origin.rstrip(".").lower()
    for zone in zones:
        if below and zone and not (below == zone or below.endswith(f".{zone}")):
            continue
        name = below or zone
        if name:
            found.stubs[name] = named
        else:
            found.data["upstreamNameservers"] = orjson.dumps(named).decode()


def _kubernetes(directive: Directive, zones: Sequence[str], domain: str, found: _Found) -> None:
    named = [word.rstrip(".").lower() for word in directive.words[1:]] or list(zones)
    if not any(zone == domain or domain.endswith(f".{zone}") or not zone for zone in named):
        found.fault(directive, f"kubernetes {' '.join(named)}: the cluster's domain is {domain}")
    for option in directive.body:
        if option.words[0] in _NEEDLESS_OF_KUBERNETES or option.words == ("pods", "insecure"):
            continue
        found.fault(option, f"nothing acts on {' '.join(option.words)[:100]!r} of kubernetes here")


def _cache(directive: Directive, domain: str, found: _Found) -> None:
    if len(directive.words) > 1 and directive.words[1].isdecimal():
        found.data["cacheSeconds"] = found.data["negativeCacheSeconds"] = directive.words[1]
    for option in directive.body:
        name, *words = option.words
        if name in ("success", "denial"):
            if len(words) > 1:
                found.data["cacheSeconds" if name == "success" else "negativeCacheSeconds"] = words[1]
        elif name == "serve_stale":
            found.data["serveStaleSeconds"] = str(_seconds(words[0]) if words else _STALE_SECONDS)
        elif name != "disable" or any(word.rstrip(".") != domain for word in words[1:]):
            found.fault(option, f"nothing acts on {' '.join(option.words)[:100]!r} of cache here")


def _seconds(written: str) -> int | str:
    """As it stands, where it is none: whoever reads the value says so."""
    match = re.fullmatch(r"(\d{1,6})([smh]?)", written)
    return min(int(match[1]) * _UNITS[match[2]], _STALE_SECONDS) if match else written


def _hosts(directive: Directive, found: _Found) -> None:
    if any(word.startswith("/") for word in directive.words[1:]):
        found.fault(directive, "hosts of a file: write the lines into the block")
    for line in directive.body:
        if line.words[0] not in _NEEDLESS_OF_HOSTS:
            found.hosts.append(" ".join(line.words))
