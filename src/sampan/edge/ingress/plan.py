"""From Ingress objects to listeners of the edge's model, and what is told of them. Pure.

Each Ingress is read by itself (``reading.py``); here they come together: the oldest has a path that several want, a
canary joins the Ingress whose path it shares, both listeners get the same hosts, and plain HTTP leads to HTTPS where
that is wished.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import field

from sampan.edge.ingress.reading import Read, Ruled
from sampan.edge.ingress.wishes import Canary
from sampan.edge.matching import in_order, prefix_key
from sampan.edge.model import (
    Backend,
    Certificate,
    Listener,
    Match,
    Owner,
    Redirect,
    Route,
    TlsRoute,
    ValueMatch,
    VirtualHost,
    Weighted,
)
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """An Event about an Ingress."""

    owner: Owner
    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ports:
    http: int = 80
    https: int = 443
    address: str = ""


@dataclass(slots=True)
class Planned:
    listeners: tuple[Listener, ...] = ()
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class _Host:
    """``redirects``: routes that plain HTTP has instead."""

    routes: dict[tuple[str, str], Ruled] = field(default_factory=dict)
    default: Ruled | None = None


def plan(ingresses: Iterable[Read], ports: Ports) -> Planned:
    """Of those that are ours; in any order."""
    made = Planned()
    ordered = sorted(ingresses, key=lambda read: read.age)
    if not ordered:
        return made
    hosts: dict[str, _Host] = {}
    canaries: list[Ruled] = []
    tls_routes: dict[str, TlsRoute] = {}
    for read in ordered:
        made.notes += [Note(read.owner, "Warning", reason, text) for reason, text in read.faults]
        for ruled in read.rules:
            if ruled.canary is not None:
                canaries.append(ruled)
            elif ruled.passthrough is not None:
                _pass_through(made, tls_routes, hosts, ruled.passthrough)
            else:
                _take(made, hosts, ruled)
    for ruled in canaries:
        _join(made, hosts, ruled)
    certificates = _certificates(made, ordered)
    secure = {name for certificate in certificates for name in certificate.hosts}
    plain, safe = _virtual_hosts(hosts, secure, ports)
    made.listeners = (
        Listener("http", ports.http, "http", ports.address, plain),
        Listener(
            "https", ports.https, "https", ports.address, safe, certificates,
            tuple(tls_routes[host] for host in sorted(tls_routes)),
        ),
    )  # fmt: skip
    return made


def _take(made: Planned, hosts: dict[str, _Host], ruled: Ruled) -> None:
    host = hosts.setdefault(ruled.host, _Host())
    if ruled.default:
        if host.default is None:
            host.default = ruled
        return
    path = ruled.route.match.path
    key = (path.kind, prefix_key(path))
    there = host.routes.setdefault(key, ruled)
    if there is not ruled:
        shown = f"{ruled.host or 'any host'} {path.value}"
        text = f"{shown} belongs to {there.route.owner}, which is older; this one has it not"
        if there.route.owner == ruled.route.owner:
            text = f"{shown} is there twice; the first is taken"
        made.notes.append(Note(ruled.route.owner, "Warning", "Conflict", text))


def _pass_through(made: Planned, routes: dict[str, TlsRoute], hosts: dict[str, _Host], route: TlsRoute) -> None:
    """Connections go before requests: of a host that another namespace has already, they would be all it has."""
    older = hosts.get(route.host, _Host())
    for ruled in (*older.routes.values(), *filter(None, (older.default,))):
        if ruled.route.owner.namespace != route.owner.namespace:
            text = (
                f"{route.host} is served for {ruled.route.owner}, which is older; connections for it are not passed on"
            )
            made.notes.append(Note(route.owner, "Warning", "Conflict", text))
            return
    there = routes.setdefault(route.host, route)
    if there is not route and there.owner != route.owner:
        text = f"connections for {route.host} belong to {there.owner}, which is older"
        made.notes.append(Note(route.owner, "Warning", "Conflict", text))


def _join(made: Planned, hosts: dict[str, _Host], ruled: Ruled) -> None:
    """A canary: more routes beside the main one, with what the main one asks for."""
    path = ruled.route.match.path
    host = hosts.get(ruled.host)
    main = host.routes.get((path.kind, prefix_key(path))) if host is not None else None
    if main is None or host is None or not ruled.route.backends or ruled.canary is None:
        text = f"no other Ingress has {ruled.host or 'any host'} {path.value}, which this one is to be a canary of"
        made.notes.append(Note(ruled.route.owner, "Warning", "CanaryWithoutMain", text))
        return
    if main.route.owner.namespace != ruled.route.owner.namespace:
        text = f"{main.route.owner} is of another namespace, and requests of others are not for a canary of this one"
        made.notes.append(Note(ruled.route.owner, "Warning", "Conflict", text))
        return
    if main.more:
        text = f"{main.route.owner} has a canary already for {ruled.host or 'any host'} {path.value}"
        made.notes.append(Note(ruled.route.owner, "Warning", "Conflict", text))
        return
    backend = ruled.route.backends[0].backend
    host.routes[path.kind, prefix_key(path)] = _with_canary(main, backend, ruled.canary)


def _with_canary(main: Ruled, backend: Backend | None, canary: Canary) -> Ruled:
    route = main.route
    to_canary = (Weighted(backend),)
    more: list[Route] = []

    def add(label: str, match: Match, backends: tuple[Weighted, ...]) -> None:
        more.append(dataclasses.replace(route, name=f"{route.name}/{label}", match=match, backends=backends))

    match = route.match
    if canary.header:
        name = canary.header
        if canary.header_value:
            add("canary", _asking(match, ValueMatch(name, canary.header_value)), to_canary)
        elif canary.header_pattern:
            add("canary", _asking(match, ValueMatch(name, canary.header_pattern, "regex")), to_canary)
        else:
            add("canary", _asking(match, ValueMatch(name, "always")), to_canary)
            add("main", _asking(match, ValueMatch(name, "never")), route.backends)
    if canary.cookie:
        for label, value, backends in (("canary", "always", to_canary), ("main", "never", route.backends)):
            asked = dataclasses.replace(match, cookies=(ValueMatch(canary.cookie, value),))
            add(f"{label}-cookie", asked, backends)
    weight = min(canary.weight, canary.total)
    if weight:
        shares = (
            *(dataclasses.replace(share, weight=canary.total - weight) for share in route.backends),
            Weighted(backend, weight),
        )
        route = dataclasses.replace(route, backends=shares)
    return dataclasses.replace(main, route=route, more=tuple(more))


def _asking(match: Match, value: ValueMatch) -> Match:
    return dataclasses.replace(match, headers=(value,))


def _certificates(made: Planned, ordered: Sequence[Read]) -> tuple[Certificate, ...]:
    """The oldest Ingress has a server name."""
    taken: dict[str, Certificate] = {}
    names: dict[str, list[str]] = {}
    found: dict[str, Certificate] = {}
    for read in ordered:
        for certificate in read.certificates:
            found.setdefault(certificate.name, certificate)
            for host in certificate.hosts:
                there = taken.setdefault(host, certificate)
                if there.name != certificate.name:
                    text = f"{host} has the certificate of {there.name}, whose Ingress is older"
                    made.notes.append(Note(read.owner, "Warning", "Conflict", text))
                elif host not in names.setdefault(certificate.name, []):
                    names[certificate.name].append(host)
    return tuple(
        dataclasses.replace(found[name], hosts=tuple(sorted(hosts))) for name, hosts in sorted(names.items()) if hosts
    )


def _virtual_hosts(
    hosts: dict[str, _Host], secure: set[str], ports: Ports
) -> tuple[tuple[VirtualHost, ...], tuple[VirtualHost, ...]]:
    """Of the plain listener, and of the other."""
    anyhow = hosts.get("")
    plain, safe = [], []
    for name in sorted(hosts):
        host = hosts[name]
        ruled = list(host.routes.values())
        if ("begins", "/") not in host.routes and ("prefix", "/") not in host.routes:
            default = host.default or (anyhow.default if anyhow is not None else None)
            ruled += [default] if default is not None else []
        routes = [route for each in ruled for route in (each.route, *each.more)]
        safe.append(VirtualHost(name, in_order(routes)))
        redirected = [
            _to_https(route, ports) if _redirects(each, name, secure) else route
            for each in ruled
            for route in (each.route, *each.more)
        ]
        plain.append(VirtualHost(name, in_order(redirected)))
    return tuple(plain), tuple(safe)


def _redirects(ruled: Ruled, host: str, secure: set[str]) -> bool:
    label, _, rest = host.partition(".")
    has_certificate = host in secure or bool(label and f"*.{rest}" in secure)
    return ruled.force_https or (ruled.to_https and has_certificate)


def _to_https(route: Route, ports: Ports) -> Route:
    port = ports.https if ports.https != 443 else 0
    redirect = Redirect(status=308, scheme="https", port=port)
    return Route(f"{route.name}/https", route.owner, route.match, redirect=redirect, age=route.age)
