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
from sampan.edge.matching import exactness
from sampan.edge.model import Certificate, Route, TlsRoute, VirtualHost

#: (address, port)
Place = tuple[str, int]


@dataclasses.dataclass(slots=True)
class _Port:
    secure: bool
    hosts: dict[str, dict[str, Route]] = dataclasses.field(default_factory=dict)
    tls: dict[str, TlsRoute] = dataclasses.field(default_factory=dict)
    certificates: dict[str, Certificate] = dataclasses.field(default_factory=dict)
    client_ca: str = ""


class Composing:
    def __init__(self, gateways: Iterable[Gateway]) -> None:
        self._ports: dict[Place, _Port] = {}
        self._bind: dict[Key, tuple[str, ...]] = {}
        self._neighbours: dict[tuple[Key, int], list[Listener]] = {}
        for gateway in gateways:
            self._bind[gateway.key] = gateway.bind
            for listener in gateway.listeners:
                if listener.programmed:
                    self._open(listener, gateway.bind)
                    self._neighbours.setdefault((gateway.key, listener.port), []).append(listener)
        for (key, _), listeners in self._neighbours.items():
            if len(listeners) > 1:
                self._divide(key, listeners)

    def _open(self, listener: Listener, bind: Sequence[str]) -> None:
        for address in bind:
            port = self._ports.setdefault((address, listener.served_port), _Port(listener.protocol != "HTTP"))
            for each in listener.certificates:
                port.certificates.setdefault(each.name, each)
            port.client_ca = port.client_ca or listener.client_ca

    def _divide(self, key: Key, listeners: Sequence[Listener]) -> None:
        """Hosts of listeners without routes are theirs all the same."""
        for listener in listeners:
            if listener.protocol != "TLS":
                for address in self._bind[key]:
                    self._ports[address, listener.served_port].hosts.setdefault(listener.hostname, {})

    def add(
        self, listener: Listener, hosts: Iterable[str], routes: Iterable[Route], tls_routes: Iterable[TlsRoute]
    ) -> None:
        """``hosts``: by which these routes are reached through the listener. Older routes are to be added first."""
        if not listener.programmed:
            return
        owned = [host for host in hosts if self._owner(listener, host) is listener]
        for address in self._bind[listener.gateway]:
            port = self._ports[address, listener.served_port]
            for host in owned:
                if listener.protocol != "TLS":
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
        fitting = [each for each in self._neighbours[listener.gateway, listener.port] if covers(each.hostname, host)]
        return min(fitting, key=lambda each: exactness(each.hostname), default=listener)

    def plane(self) -> model.Plane:
        return model.Plane(
            tuple(
                model.Listener(
                    name=f"gateway-{address or 'any'}-{number}",
                    port=number,
                    protocol="https" if port.secure else "http",
                    address=address,
                    hosts=tuple(
                        VirtualHost(host, tuple(routes.values()), deep=True)
                        for host, routes in sorted(port.hosts.items())
                    ),
                    certificates=tuple(port.certificates.values()),
                    tls_routes=tuple(port.tls.values()),
                    client_ca=port.client_ca,
                )
                for (address, number), port in sorted(self._ports.items())
            )
        )
