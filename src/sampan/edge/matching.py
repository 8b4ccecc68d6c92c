"""Which route a request takes: the meaning of the model, in the plainest words. Pure.

The data plane's tests hold the proxy to it. ``in_order`` is the precedence of the Gateway API, which is that of
Ingress where an Ingress can say anything of it: the longer path first, then the more that is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from sampan.edge.model import Listener, Match, PathMatch, Route, TlsRoute, ValueMatch, VirtualHost
from sampan.records import dataclass

_PATH_RANK = {"exact": 0, "regex": 1, "prefix": 2, "begins": 2}


@dataclass(frozen=True, slots=True)
class Request:
    """``headers``: lower-case names; ``path`` without its query. ``server_name``: of TLS."""

    host: str = ""
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    query: str = ""


def in_order(routes: Iterable[Route]) -> tuple[Route, ...]:
    """By precedence: exact paths, regular expressions, prefixes, the longer first; then a method, more headers, more
    parameters (and cookies); then the older, by ``age``."""
    return tuple(sorted(routes, key=precedence))


def precedence(route: Route) -> tuple[Any, ...]:
    match = route.match
    return (
        _PATH_RANK[match.path.kind],
        -len(prefix_key(match.path)),
        not match.method,
        -len(match.headers),
        -len(match.queries) - len(match.cookies),
        route.age,
        route.name,
    )


def prefix_key(path: PathMatch) -> str:
    """What a path, with a slash put behind it, begins with; of an exact path or an expression, the value."""
    return path.value.rstrip("/") + "/" if path.kind == "prefix" else path.value


def route_of(listener: Listener, request: Request) -> Route | None:
    """None: 404."""
    host = host_of(listener.hosts, request.host)
    if host is None:
        return None
    return next((route for route in in_order(host.routes) if matches(route.match, request)), None)


def host_of(hosts: Sequence[VirtualHost], name: str) -> VirtualHost | None:
    """The host whose name is most exact; ``name`` may have a port."""
    name = without_port(name).lower()
    fitting = [host for host in hosts if covers(host.name, name, deep=host.deep)]
    return min(fitting, key=lambda host: exactness(host.name), default=None)


def tls_route_of(listener: Listener, server_name: str) -> TlsRoute | None:
    """None: the connection is for the listener's certificates."""
    name = server_name.lower()
    fitting = [route for route in listener.tls_routes if covers(route.host, name, deep=True)]
    best = min(fitting, key=lambda route: exactness(route.host), default=None)
    host = host_of(listener.hosts, name)
    if best is not None and host is not None and exactness(host.name) < exactness(best.host):
        return None
    return best


def covers(pattern: str, name: str, *, deep: bool) -> bool:
    if not pattern:
        return True
    if not pattern.startswith("*."):
        return pattern.lower() == name
    label, dot, rest = name.partition(".")
    suffix = pattern[1:].lower()
    if deep:
        return name.endswith(suffix) and len(name) > len(suffix)
    return bool(label and dot) and "." + rest == suffix


def exactness(pattern: str) -> tuple[bool, int]:
    """Sorts the most exact first: whole names, then longer ones with a star, then any."""
    return pattern.startswith("*") or not pattern, -len(pattern)


def without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def matches(match: Match, request: Request) -> bool:
    headers = request.headers or {}
    return (
        path_matches(match.path, request.path)
        and (not match.method or match.method == request.method)
        and all(_value(wanted, headers.get(wanted.name.lower())) for wanted in match.headers)
        and all(_value(wanted, _first(_parameters(request.query), wanted.name)) for wanted in match.queries)
        and all(_value(wanted, _first(_cookies(headers.get("cookie", "")), wanted.name)) for wanted in match.cookies)
    )


def path_matches(match: PathMatch, path: str) -> bool:
    """Of a path with a slash put behind it, ``begins`` takes the value and "/foo/" takes "/foo" too."""
    if match.kind == "exact":
        return path == match.value
    if match.kind in ("prefix", "begins"):
        return (path + "/").startswith(prefix_key(match))
    return re.match(match.value, path, re.IGNORECASE if match.ignore_case else 0) is not None


def _value(wanted: ValueMatch, value: str | None) -> bool:
    if value is None:
        return False
    if wanted.kind == "exact":
        return value == wanted.value
    return wanted.kind == "present" or re.fullmatch(wanted.value, value) is not None


def _first(pairs: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in pairs if key == name), None)


def _parameters(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _cookies(header: str) -> Iterable[tuple[str, str]]:
    for part in header.split(";"):
        name, separator, value = part.strip().partition("=")
        if separator:
            yield name, value
