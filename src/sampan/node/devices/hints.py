"""On which NUMA nodes a pod can be given devices, as far as their plug-ins say where they are. Pure.

Used by ``manager``. As the kubelet's ``devicemanager/topology_hints.go``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from sampan.node.devices.plan import Held, Need, Stock, reusable
from sampan.node.topology.hints import Hint, Mask, mask_of, masks, with_smallest_preferred


def of_container(
    need: Need, pod_needs: Sequence[Need], held: Held, in_use: Collection[str], stock: Stock, nodes: Sequence[int]
) -> Sequence[Hint] | None:
    """``held``: of the pod; ``in_use``: by any; ``nodes``: of the machine. None: anywhere is as good."""
    if not stock.nodes:
        return None
    if already := held.get((need.container, need.resource)):
        return _sets(stock, nodes, already, (), need.number) if len(already) == need.number else ()
    lent = reusable(pod_needs, need, held) & stock.healthy
    return _sets(stock, nodes, stock.healthy - set(in_use), lent, need.number)


def of_pod(
    resource: str, pod_needs: Iterable[Need], held: Held, in_use: Collection[str], stock: Stock, nodes: Sequence[int]
) -> Sequence[Hint] | None:
    """For all of its containers together."""
    if not stock.nodes:
        return None
    number = _most_at_once(need for need in pod_needs if need.resource == resource)
    already = {device for (_, name), devices in held.items() if name == resource for device in devices}
    if already:
        return _sets(stock, nodes, already, (), number) if len(already) == number else ()
    return _sets(stock, nodes, stock.healthy - set(in_use), (), number)


def _most_at_once(needs: Iterable[Need]) -> int:
    beside = most = 0
    for need in needs:
        if need.lends:
            most = max(most, beside + need.number)
        else:
            beside += need.number
    return max(most, beside)


def _sets(stock: Stock, nodes: Sequence[int], free: Collection[str], lent: Collection[str], number: int) -> list[Hint]:
    """Every set of NUMA nodes with so many: all that are ``lent``, and of those that are ``free``."""
    all_ = _counted(stock, stock.healthy | stock.unhealthy)
    there, again = _counted(stock, set(free) | set(lent)), _counted(stock, lent)
    least, found = len(nodes), []
    for mask in masks(nodes):
        if _within(all_, mask) >= number:
            least = min(least, mask.bit_count())
        if all(where & mask for where in again if where) and _within(there, mask) >= number:
            found.append(mask)
    return with_smallest_preferred(found, least)


def _counted(stock: Stock, devices: Iterable[str]) -> Counter[Mask]:
    """How many there are, by where they are. There are few such places, and perhaps thousands of devices."""
    places = Counter(stock.nodes.get(device, ()) for device in devices)
    return Counter({mask_of(place): number for place, number in places.items()})


def _within(counted: Counter[Mask], mask: Mask) -> int:
    return sum(number for where, number in counted.items() if where & mask)
