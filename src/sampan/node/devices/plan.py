"""Which devices a container gets. Pure; used by ``manager``.

Messages are the kubelet's (``pkg/kubelet/cm/devicemanager``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import NamedTuple

from sampan.api import quantity
from sampan.api.pods import containers
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.node.topology.hints import Mask, mask_of
from sampan.records import dataclass


class Unavailable(Exception):
    """A container cannot have the devices that it asks for; the text says why."""


@dataclass(frozen=True, slots=True)
class Stock:
    """The devices of one resource by their ids, as its plug-in listed them last. ``nodes``: on which NUMA nodes those
    are of which it says so."""

    healthy: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()
    nodes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Need(NamedTuple):
    """``lends``: an ordinary init container, whose devices the containers after it may have."""

    container: str
    resource: str
    number: int
    lends: bool


#: The devices of one pod, by container and resource.
Held = Mapping[tuple[str, str], Collection[str]]


def needs(pod: Obj, resources: Collection[str]) -> list[Need]:
    """What the pod's containers ask of ``resources``, in the order in which it is given: init containers first."""
    found = []
    for sort, container in containers.walk(pod):
        limits = part(part(container, "resources"), "limits")
        for resource in sorted(limits.keys() & set(resources)):
            number = int(quantity.parse(str(limits[resource])))
            if number > 0:
                lends = sort == "init" and not containers.is_sidecar(sort, container)
                found.append(Need(text(container, "name"), resource, number, lends))
    return found


def reusable(pod_needs: Iterable[Need], need: Need, held: Held) -> frozenset[str]:
    """Devices of the pod's init containers, which have ended when ``need``'s container starts, and that no container
    which runs beside it has."""
    lent: set[str] = set()
    kept: set[str] = set()
    for other in pod_needs:
        if other.resource == need.resource and other.container != need.container:
            (lent if other.lends else kept).update(held.get((other.container, other.resource), ()))
    return frozenset(lent - kept)


@dataclass(frozen=True, slots=True)
class Choice:
    """``kept`` are the container's in any case; of ``free`` further ``missing`` are to be taken."""

    kept: tuple[str, ...]
    free: tuple[str, ...]
    missing: int


def choose(
    need: Need,
    already: Collection[str],
    lent: Collection[str],
    in_use: Collection[str],
    stock: Stock,
    affinity: Mask | None = None,
) -> Choice:
    """``already``: what the container has from before; ``in_use``: what any pod has; ``affinity``: the NUMA nodes whose
    devices come first, None: any. Raises Unavailable."""
    if not stock.healthy:
        raise Unavailable(f"no healthy devices present; cannot allocate unhealthy devices {need.resource}")
    if already:
        if len(already) != need.number:
            raise Unavailable(
                f'container "{need.container}" changed request for resource "{need.resource}" '
                f"from {len(already)} to {need.number}"
            )
        if not stock.healthy.issuperset(already):
            raise Unavailable(
                f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {need.resource}"
            )
        return Choice(tuple(sorted(already)), (), 0)
    again = sum(_by_distance(set(lent) & stock.healthy, stock, affinity), ())[: need.number]
    near, *others = _by_distance(stock.healthy - set(in_use), stock, affinity)
    free = sum(others, near)
    missing = need.number - len(again)
    if len(free) < missing:
        raise Unavailable(
            f"requested number of devices unavailable for {need.resource}. Requested: {missing}, Available: {len(free)}"
        )
    if missing < len(near):
        return Choice(again, near, missing)
    return Choice((*again, *near), free[len(near) :], missing - len(near))


def _by_distance(devices: Iterable[str], stock: Stock, affinity: Mask | None) -> tuple[tuple[str, ...], ...]:
    """In the order of their names: those on one of these NUMA nodes; those on others; those that are nowhere. There
    are few places, and perhaps thousands of devices."""
    found: tuple[list[str], list[str], list[str]] = [], [], []
    close: dict[tuple[int, ...] | None, int] = {None: 2}
    if affinity is not None:
        close |= {place: 0 if mask_of(place) & affinity else 1 for place in set(stock.nodes.values())}
    for device in sorted(devices):
        found[close.get(stock.nodes.get(device), 2)].append(device)
    return tuple(map(tuple, found))


def take(choice: Choice, preferred: Sequence[str]) -> tuple[str, ...]:
    """The container's devices: what the plug-in prefers of what is free, the rest in its order."""
    free = set(choice.free)
    wanted = [device for device in dict.fromkeys(preferred) if device in free][: choice.missing]
    rest = [device for device in choice.free if device not in set(wanted)]
    return (*choice.kept, *wanted, *rest[: choice.missing - len(wanted)])
