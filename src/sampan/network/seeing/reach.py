"""Who reaches whom: every pod with every other, for one protocol and port. Pure.

Pods that policies cannot tell apart (the same namespace, labels, node and named ports) are asked about once, so that a
Deployment of a thousand costs as one pod. A pod's own port is asked for where none is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sampan.network.policy.model import PodFacts, PodKey
from sampan.network.seeing.judging import Connection, judge
from sampan.network.seeing.world import World
from sampan.records import dataclass

OUTSIDE = "outside"


class Group(NamedTuple):
    """Pods that are alike; the first stands for them."""

    name: str
    pods: tuple[PodKey, ...]
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Reach:
    """``reaches[source][target]``, by names of groups."""

    protocol: str
    groups: tuple[Group, ...]
    reaches: dict[str, dict[str, bool]]


def matrix(
    world: World, *, namespaces: Iterable[str] = (), protocol: str = "TCP", port: int = 0, outside: str = "192.0.2.1"
) -> Reach:
    """``outside``: the address that stands for the world. ``port`` 0: the first that each target names, else 80."""
    wanted = set(namespaces)
    groups = _groups(world, wanted, protocol, port)
    everyone = [*groups, Group(OUTSIDE, (), outside, port or 80)]
    reaches: dict[str, dict[str, bool]] = {}
    for source in everyone:
        row = reaches[source.name] = {}
        for target in everyone:
            address = _other(world, source) if source is target else target.address
            if address and (source.pods or target.pods):
                row[target.name] = judge(world, Connection(source.address, address, protocol, target.port)).allowed
    return Reach(protocol, tuple(everyone), reaches)


def _groups(world: World, wanted: set[str], protocol: str, port: int) -> list[Group]:
    alike: dict[object, list[PodFacts]] = {}
    for _, facts in sorted(world.pods.items()):
        if not wanted or facts.key.namespace in wanted:
            blocks = facts.addresses if _has_blocks(world) else ()
            likeness = (facts.key.namespace, tuple(sorted(facts.labels.items())), facts.node, facts.ports, blocks)
            alike.setdefault(likeness, []).append(facts)
    return [
        Group(
            str(pods[0].key) + (f" and {len(pods) - 1} like it" if len(pods) > 1 else ""),
            tuple(each.key for each in pods),
            pods[0].addresses[0],
            port or next((number for _, kind, number in pods[0].ports if kind == protocol.lower()), 80),
        )
        for pods in alike.values()
    ]


def _has_blocks(world: World) -> bool:
    """Whether some policy goes by addresses, which tell any two pods apart."""
    return any(rule.blocks for policy in world.policies for rule in (*(policy.ingress or ()), *(policy.egress or ())))


def _other(world: World, group: Group) -> str:
    """Another of those that are alike: a pod always reaches itself, which says nothing."""
    return world.pods[group.pods[1]].addresses[0] if len(group.pods) > 1 else ""


def words(reach: Reach) -> str:
    """A table: a row for each that sends, a column for each that is reached."""
    names = [group.name for group in reach.groups]
    width = max(map(len, names), default=0)
    lines = [f"{'FROM':{width}}  " + " ".join(f"{number:>3}" for number in range(1, len(names) + 1))]
    for name in names:
        row = reach.reaches[name]
        cells = ("  ." if other not in row else "yes" if row[other] else " no" for other in names)
        lines.append(f"{name:{width}}  " + " ".join(cells))
    lines.append("")
    lines += [
        f"{number:>3}  {group.name}" + (f" (port {group.port} {reach.protocol})" if group.pods else "")
        for number, group in enumerate(reach.groups, 1)
    ]
    return "\n".join(lines)


def wire(reach: Reach) -> dict[str, Any]:
    return {
        "protocol": reach.protocol,
        "groups": [
            {"name": group.name, "pods": [str(key) for key in group.pods], "address": group.address, "port": group.port}
            for group in reach.groups
        ],
        "reaches": reach.reaches,
    }
