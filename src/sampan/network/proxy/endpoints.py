"""Which endpoints of a service port get traffic on this node. Pure.

Ready endpoints; when there are none, those that end but still serve (KEP-1669), so that a node that is emptied
refuses nobody it could answer. Hints narrow the choice when every ready endpoint has them (KEP-2433, KEP-3015).
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.network.proxy.model import Endpoint
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where this proxy is."""

    node: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """``cluster`` for policy Cluster, ``local`` for policy Local; ``anywhere`` tells drop from reject."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]

    @property
    def anywhere(self) -> bool:
        return bool(self.cluster)


def choose(endpoints: Sequence[Endpoint], place: Place) -> Choice:
    return Choice(
        cluster=_by_hints(_ready(endpoints), place) or _ending(endpoints),
        local=_usable([endpoint for endpoint in endpoints if endpoint.node == place.node]),
    )


def _usable(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    return _ready(endpoints) or _ending(endpoints)


def _ready(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple(endpoint for endpoint in endpoints if endpoint.ready)


def _ending(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple(endpoint for endpoint in endpoints if endpoint.serving and endpoint.terminating)


def _by_hints(endpoints: tuple[Endpoint, ...], place: Place) -> tuple[Endpoint, ...]:
    if all(endpoint.nodes for endpoint in endpoints):
        near = tuple(endpoint for endpoint in endpoints if place.node in endpoint.nodes)
        if near:
            return near
    if place.zone and all(endpoint.zones for endpoint in endpoints):
        near = tuple(endpoint for endpoint in endpoints if place.zone in endpoint.zones)
        if near:
            return near
    return endpoints
