"""Listeners of several sources as one plane: ports are shared, hosts are shared, certificates stand side by side. Pure.

Which of two routes of one host and path is taken says ``matching.in_order``: the older one. A listener at one address
has what those at every address have beside its own: the machine gives it all that comes to that address, so that it
would take it from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sampan.edge.checking import Problem
from sampan.edge.model import Listener, Owner, Plane, VirtualHost


def merge(listeners: Iterable[Listener]) -> tuple[Plane, list[Problem]]:
    """In the order of the sources: the first of a port says its protocol. Ports without anything to do are left out."""
    merged: dict[tuple[str, int], Listener] = {}
    problems: list[Problem] = []
    for listener in listeners:
        key = (listener.address, listener.port)
        there = merged.get(key)
        if there is None:
            merged[key] = listener
        elif there.protocol != listener.protocol or there.client_ca != listener.client_ca:
            text = f"port {listener.port} is one of {there.protocol} already, as somebody else wants it"
            problems += [Problem(owner, text) for owner in _owners(listener)]
        else:
            merged[key] = _both(there, listener)
    for key, listener in list(merged.items()):
        wide = merged.get(("", listener.port))
        if wide is None or not listener.address:
            continue
        if wide.protocol != listener.protocol or wide.client_ca != listener.client_ca:
            del merged[key]
            text = f"port {listener.port} is one of {wide.protocol} already at every address, as somebody else wants it"
            problems += [Problem(owner, text) for owner in _owners(listener)]
        else:
            both = _both(wide, listener)
            merged[key] = dataclasses.replace(both, name=listener.name, address=listener.address)
    return Plane(tuple(each for each in merged.values() if each.hosts or each.tls_routes)), problems


def _both(first: Listener, second: Listener) -> Listener:
    hosts: dict[tuple[str, bool], VirtualHost] = {}
    # A star for one label goes before one for several, of the same name.
    for host in sorted((*first.hosts, *second.hosts), key=lambda host: host.deep):
        key = (host.name, host.deep and host.name.startswith("*"))
        there = hosts.get(key)
        routes = host.routes if there is None else (*there.routes, *host.routes)
        hosts[key] = VirtualHost(host.name, routes, host.deep)
    certificates = {certificate.name: certificate for certificate in second.certificates}
    for certificate in first.certificates:
        there_too = certificates.get(certificate.name)
        names = dict.fromkeys((*certificate.hosts, *(there_too.hosts if there_too else ())))
        certificates[certificate.name] = dataclasses.replace(certificate, hosts=tuple(names))
    taken: set[str] = set()
    ordered = []
    for certificate in certificates.values():
        names_left = tuple(host for host in certificate.hosts if host not in taken)
        taken.update(names_left)
        if names_left or not certificate.hosts:
            ordered.append(dataclasses.replace(certificate, hosts=names_left))
    return dataclasses.replace(
        first,
        hosts=tuple(hosts.values()),
        certificates=tuple(ordered),
        tls_routes=(*first.tls_routes, *second.tls_routes),
        strict_names=first.strict_names and second.strict_names,
    )


def _owners(listener: Listener) -> set[Owner]:
    of_hosts = {route.owner for host in listener.hosts for route in host.routes}
    return of_hosts | {route.owner for route in listener.tls_routes}
