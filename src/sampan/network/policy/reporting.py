"""Whom policies restrict on a node and what they dropped, for programs and for Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sampan.network.policy.backend import Dropped
from sampan.network.policy.drops import Drop
from sampan.network.policy.model import DIRECTIONS, Direction, PodKey
from sampan.network.policy.plan import Judged
from sampan.records import dataclass

_METRIC = "sampan_network_policy_dropped_packets_total"
_HELP = "Packets to (ingress) and from (egress) a pod that policies dropped."


@dataclass(frozen=True, slots=True)
class Restricted:
    """An address of this node's that policies restrict, and what was dropped of it since."""

    address: str
    pod: PodKey
    judged: Judged
    dropped: Mapping[Direction, Dropped]


def wire(restricted: Iterable[Restricted], drops: Iterable[Drop]) -> dict[str, Any]:
    return {"restricted": [_restricted(each) for each in restricted], "drops": [drop.wire() for drop in drops]}


def _restricted(each: Restricted) -> dict[str, Any]:
    made: dict[str, Any] = {"pod": str(each.pod), "address": each.address}
    for direction, selection in zip(DIRECTIONS, each.judged, strict=True):
        if selection is not None:
            made[direction] = {
                "policies": [str(key) for key in selection.policies],
                "dropped": each.dropped.get(direction, Dropped())._asdict(),
            }
    return made


def render_metrics(restricted: Iterable[Restricted]) -> str:
    """Names of pods hold nothing that would have to be escaped."""
    lines = [f"# HELP {_METRIC} {_HELP}", f"# TYPE {_METRIC} counter"]
    for each in restricted:
        pod = f'namespace="{each.pod.namespace}",pod="{each.pod.name}",ip="{each.address}"'
        lines += [f'{_METRIC}{{{pod},direction="{way}"}} {dropped.packets}' for way, dropped in each.dropped.items()]
    return "\n".join(lines) + "\n"
