"""The plane, put together from listeners and the routes attached to them. Pure.

A request belongs to the listener of its Gateway whose host fits it best, and to no other: a route that is reached
through a wider listener by a host of a narrower one is not reached there. Gateways that have a port in common share it;
each keeps to its own listeners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from sampan.edge import model
from sampan.edge.gateway.hostnames import covers, shared
from sampan.edge.gateway.listeners import Gateway, Listener
from sampan.edge.gateway.observed import Key
from sampan.edge.gateway.translation import owner_of
from sampan.edge.matching import exactness
from sampan.edge.model import Certificate, Owner, Route, TlsRoute, VirtualHost

#: (address, port)
Place = tuple[str, int]


@dataclasses.dataclass(slots=True)
class _Port:
    secure: bool
    hosts: dict[str, dict[str, Route]] = dataclasses.field(default_factory=dict)
    #: whose a host without routes is, and whose certificates are shown for it: the oldest Gateway's that has it
    owners: dict[str, Owner] = dataclasses.field(default_factory=dict)
    tls: dict[str, TlsRoute] = dataclasses.field(default_factory=dict)
    certificates: dict[str, Certificate] = dataclasses.field(default_factory=dict)
    client_ca: str = ""


class Composing:
    def __init__(self, gateways: Iterable[Gateway]) -> None:
        self._ports: dict[Place, _Port] = {}
        self._bind: dict[Key, tuple[str, ...]] = {}
        self._neighbours: dict[tuple[Key, int], list[Listener]] = {}
        self._owners: dict[tuple[Key, int, str], Listener | None] = {}
        for gateway in gateways:
            self._bind[gateway.key] = gateway.bind
            for listener in gateway.listeners:
                if listener.programmed:
                    self._open(listener, gateway)
                    self._neighbours.setdefault((gateway.key, listener.port), []).append(listener)

    def _open(self, listener: Listener, gateway: Gateway) -> None:
        for address in gateway.bind:
            port = self._ports.setdefault((address, listener.served_port), _Port(listener.protocol != "HTTP"))
            port.client_ca = port.client_ca or listener.client_ca
            if listener.protocol == "TLS":
                continue
            port.hosts.setdefault(listener.hostname, {})  # its host is its own without routes, too
            owner = owner_of(gateway.obj, "Gateway")
            if port.owners.setdefault(listener.hostname, owner) == owner:
                port.certificates |= {each.name: each for each in listener.certificates}

    def add(
        self, listener: Listener, hosts: Iterable[str], routes: Sequence[Route], tls_routes: Iterable[TlsRoute]
    ) -> None:
        """``hosts``: by which these routes are reached through the listener. Older routes are to be added first."""
        if not listener.programmed:
            return
        owned = [host for host in hosts if self._owner(listener, host) is listener]
        for address in self._bind[listener.gateway]:
            port = self._ports[address, listener.served_port]
            for host in owned:
                if routes:
                    port.hosts.setdefault(host, {}).update((route.name, route) for route in routes)
            for route in tls_routes:
                for host in shared(listener.hostname, (route.host,)):
                    if host in owned and host not in port.tls:
                        name = f"{route.name}/{host}"
                        port.tls[host] = dataclasses.replace(
                            route, name=name, host=host, passthrough=listener.passthrough
                        )

    def _owner(self, listener: Listener, host: str) -> Listener:
        """The listener of the same Gateway and port that has this host, if one has all of it."""
        key = listener.gateway, listener.port, host
        if key not in self._owners:
            fitting = [each for each in self._neighbours[key[:2]] if covers(each.hostname, host)]
            self._owners[key] = min(fitting, key=lambda each: exactness(each.hostname), default=None)
        return self._owners[key] or listener

    def plane(self) -> model.Plane:
        return model.Plane(
            tuple(
                model.Listener(
                    name=f"gateway-{address or 'any'}-{number}",
                    port=number,
                    protocol="https" if port.secure else "http",
                    address=address,
                    hosts=tuple(
                        VirtualHost(host, tuple(routes.values()) or (_nothing(host, port.owners[host]),), deep=True)
                        for host, routes in sorted(port.hosts.items())
                    ),
                    certificates=tuple(port.certificates.values()),
                    tls_routes=tuple(port.tls.values()),
                    client_ca=port.client_ca,
                )
                for (address, number), port in sorted(self._ports.items())
            )
        )


def _nothing(host: str, owner: Owner) -> Route:
    """For the requests of a host that no route takes, after everybody else's routes of the same host: 404."""
    name = f"gateway/{owner.namespace}/{owner.name}/{host or 'any'}"
    return Route(name, owner, fault_status=404, age=("~", "", 0))
