"""What a cloud can be asked. Implemented by ``local`` and ``remote``; used by the four controllers.

A part that a cloud has not is None, and its controller does not run. Everything may take long and may fail: each call
has the caller's deadline, and raises CloudError with words for an Event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sampan.records import dataclass

#: of a Node's addresses, in the order in which a status has them
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname")


class CloudError(Exception):
    """The cloud did not do it, or could not be asked. Worth another try."""


@dataclass(frozen=True, slots=True)
class NodeRef:
    """What is known of a node: the cloud finds its machine by ``provider_id``, or by name where it has none yet."""

    name: str
    provider_id: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the cloud says of a node's machine. ``addresses``: pairs of type and address."""

    provider_id: str
    instance_type: str = ""
    zone: str = ""
    region: str = ""
    addresses: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] | None = None
    shutdown: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """``cidr`` goes to ``node``. ``name`` is the cloud's own."""

    name: str
    node: str
    cidr: str


@dataclass(frozen=True, slots=True)
class Balancer:
    """Where clients reach a Service: addresses, or host names."""

    addresses: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()


class Instances(Protocol):
    async def machine(self, node: NodeRef) -> Machine | None:
        """None: there is no such machine, and the node is to go."""
        ...


class Routes(Protocol):
    async def routes(self) -> Sequence[Route]: ...

    async def create(self, route: Route) -> None:
        """``route.name`` is a hint. Idempotent."""
        ...

    async def delete(self, route: Route) -> None: ...


class LoadBalancers(Protocol):
    async def ensure(self, name: str, service: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Balancer:
        """Makes it, or what it has to be now: ports of the Service, node ports of these nodes. Idempotent."""
        ...

    async def delete(self, name: str, service: Mapping[str, Any]) -> None:
        """Idempotent."""
        ...


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def instances(self) -> Instances | None: ...

    @property
    def routes(self) -> Routes | None: ...

    @property
    def load_balancers(self) -> LoadBalancers | None: ...

    async def close(self) -> None: ...
