"""Pods without a node: what keeps them off each. The scheduler's own records count first, where it keeps any. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.pods.status import is_terminal, node_name
from sampan.api.reading import part, parts, text, whole
from sampan.api.resources import (
    NODES,
)
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.fit import Refusal
from sampan.why.world import Query, World

#: So many nodes are judged one by one; of larger clusters those that the scheduler's record names.
FEW_NODES: Final = 24


def waits(pod: Obj) -> bool:
    return not node_name(pod) and not is_terminal(pod) and not is_deleting(pod)


def is_gated(pod: Obj) -> bool:
    return bool(parts(part(pod, "spec"), "schedulingGates"))


def judged(world: World, pod: Obj) -> tuple[list[Refusal], int]:
    """Refusals of the nodes that are judged, and how many nodes there are."""
    key = ("judged", fit.key(pod))
    if key not in world.memo:
        world.memo[key] = _judge(world, pod)
    found: tuple[list[Refusal], int] = world.memo[key]
    return found


def _judge(world: World, pod: Obj) -> tuple[list[Refusal], int]:
    if not waits(pod) or is_gated(pod):
        return [], 0
    record = next(iter(world.attempts(pod)), {})
    total = whole(record, "nodes") or 0
    if total > FEW_NODES:
        stand_for = _examples(record)
        world.want(*(Query(NODES, name) for name in stand_for))
        nodes = [node for name in stand_for if (node := world.get(NODES, name)) is not None]
    else:
        nodes = list(world.all(NODES))
        total = max(total, len(nodes))
        nodes, stand_for = nodes[:FEW_NODES], {}
    near = fit.bound(world, nodes, whole=len(nodes) >= total and not world.cut(NODES) if not stand_for else False)
    found: list[Refusal] = []
    for node in nodes:
        name = text(part(node, "metadata"), "name")
        here = list(fit.refusals(world, pod, node, near))
        if not here and not stand_for:
            return [], total  # it fits: the scheduler has not come to it, or knows more
        found += [replace(each, stands_for=stand_for.get(name, 1)) for each in here]
    return found, total


def _examples(record: Obj) -> dict[str, int]:
    """Nodes that a record names, and how many each stands for."""
    found: dict[str, int] = {}
    for each in parts(record, "rejections"):
        name = text(each, "example")
        if name and len(found) < FEW_NODES:
            found[name] = found.get(name, 0) + (whole(each, "nodes") or 1)
    nearest = text(part(record, "nearest"), "node")
    if nearest:
        found.setdefault(nearest, 1)
    return found
