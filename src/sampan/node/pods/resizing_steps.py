"""In which order a resize is written: to the pod's cgroup and to its containers, memory before processor. Pure.

A pod's limit grows before those of its containers and shrinks after them, its requests grow after its limit and shrink
before it, and of the containers those that give something back go first: so at no moment is a part allowed more than
the whole, which cgroup v1 would refuse, and a failure at any step leaves limits that hold. Carried out by ``actions``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from sampan.api.pods.requests import pod_limit, pod_requests
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.cgroups import settings
from sampan.node.cgroups.held import Held
from sampan.node.pods.resizing import WHOLE
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A running container and what it has and is to have, in the runtime's terms."""

    container_id: str
    name: str
    before: runtime.Resources
    after: runtime.Resources


@dataclass(frozen=True, slots=True)
class WritePod:
    """One part of the pod's own limits."""

    part: settings.Part


@dataclass(frozen=True, slots=True)
class WriteContainer:
    """``last``: with this the container has all that it is to have."""

    container_id: str
    resources: runtime.Resources
    last: bool


Step: TypeAlias = WritePod | WriteContainer


def plan_steps(before: Obj, after: Obj, changes: Sequence[Change]) -> list[Step]:
    """``before``: the pod with what its cgroup was written by; ``after``: as the node has promised it."""
    steps: list[Step] = []
    had, has = _limits(before), _limits(after)
    if has["memory"] > had["memory"]:
        steps.append(WritePod("memory limit"))
    steps += _memory(changes)
    if has["memory"] < had["memory"]:
        steps.append(WritePod("memory limit"))
    if has["cpu"] > had["cpu"]:
        steps.append(WritePod("cpu limit"))
    if has["shares"] > had["shares"]:
        steps.append(WritePod("cpu request"))
    steps += _cpu(changes)
    if has["shares"] < had["shares"]:
        steps.append(WritePod("cpu request"))
    if has["cpu"] < had["cpu"]:
        steps.append(WritePod("cpu limit"))
    return steps


def _limits(pod: Obj) -> dict[str, float]:
    """No limit is the largest there is."""
    return {
        "memory": pod_limit(pod, "memory") or float("inf"),
        "cpu": settings.quota(pod_limit(pod, "cpu") or 0) or float("inf"),
        "shares": settings.shares(pod_requests(pod, use_status=False).get("cpu", 0)),
    }


def _memory(changes: Sequence[Change]) -> Iterator[Step]:
    for change in sorted(changes, key=lambda each: _grows(each.before.memory_limit_bytes, each.after)):
        if change.before.memory_limit_bytes != change.after.memory_limit_bytes:
            wanted = replace(
                change.after,
                cpu_period=change.before.cpu_period,
                cpu_quota=change.before.cpu_quota,
                cpu_shares=change.before.cpu_shares,
            )
            yield WriteContainer(change.container_id, wanted, last=False)


def _grows(limit_bytes: int, after: runtime.Resources) -> bool:
    return (after.memory_limit_bytes or float("inf")) > (limit_bytes or float("inf"))


def _cpu(changes: Sequence[Change]) -> Iterator[Step]:
    def grows(change: Change) -> bool:
        return (change.after.cpu_quota or float("inf")) > (change.before.cpu_quota or float("inf"))

    for change in sorted(changes, key=grows):
        yield WriteContainer(change.container_id, change.after, last=True)


def too_low(before: Obj, after: Obj, changes: Sequence[Change], held: Mapping[str, Held]) -> str:
    """Why memory cannot be taken away: it is in use. "" when it can. ``held``: by container id, and the pod's."""
    found = []
    had, has = _limits(before)["memory"], _limits(after)["memory"]
    usage = held[WHOLE].memory_usage_bytes if WHOLE in held else 0
    if has < had and usage >= has:
        found.append(f"attempting to set pod memory limit ({int(has)}) below current usage ({usage})")
    for change in changes:
        limit = change.after.memory_limit_bytes
        known = held.get(change.container_id)
        usage = known.memory_usage_bytes if known is not None else 0
        if limit and limit < (change.before.memory_limit_bytes or float("inf")) and usage >= limit:
            found.append(
                f'attempting to set container "{change.name}" memory limit ({limit}) below current usage ({usage})'
            )
    if not found:
        return ""
    listed = ", ".join(found)
    return f"cannot decrease memory limits: {listed if len(found) == 1 else f'[{listed}]'}"
