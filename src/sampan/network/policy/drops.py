"""The last connections that policies dropped: who, to whom, and by whose policies. Bounded; counters have all of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from sampan.api.clock import Clock, format_time
from sampan.network.policy.model import Direction, PodKey
from sampan.network.policy.packets import Packet
from sampan.network.policy.planner import Planner
from sampan.records import dataclass

_MANY = 256


class _Flow(NamedTuple):
    direction: Direction
    source: str
    target: str
    protocol: str
    port: int


@dataclass(slots=True)
class Drop:
    """One connection (or what looks like one): told once, however often it was tried. ``policies``: those that selected
    the pod in that direction when its last packet was dropped."""

    flow: _Flow
    pod: PodKey | None
    policies: tuple[str, ...]
    first: str
    last: str
    packets: int = 1

    def wire(self) -> dict[str, Any]:
        return {
            "direction": self.flow.direction,
            "source": self.flow.source,
            "target": self.flow.target,
            "protocol": self.flow.protocol,
            "port": self.flow.port,
            "pod": str(self.pod) if self.pod is not None else "",
            "policies": list(self.policies),
            "first": self.first,
            "last": self.last,
            "packets": self.packets,
        }


class LastDrops:
    """Invariant: at most ``_MANY`` flows, in order of their last packet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drops: OrderedDict[_Flow, Drop] = OrderedDict()
        #: since the last ``look``
        self.heard = False

    def hear(self, packet: Packet, planner: Planner) -> None:
        direction, _, turned = packet.prefix.partition("/")
        if direction not in ("ingress", "egress"):
            return
        self.heard = True
        source, target, port = packet.source, packet.target, packet.target_port
        if turned:  # an answer, judged as what it answers
            source, target, port = target, source, packet.source_port
        way: Direction = "ingress" if direction == "ingress" else "egress"
        flow, now = _Flow(way, source, target, packet.protocol, port), format_time(self._clock.now())
        own = target if way == "ingress" else source
        judged = planner.judged(own)
        selection = judged.ingress if way == "ingress" else judged.egress
        known = self._drops.pop(flow, None) or Drop(flow, planner.owner(own), (), now, now, 0)
        if selection is not None:  # else they are gone since: it was by those from before
            known.pod, known.policies = planner.owner(own), tuple(map(str, selection.policies))
        known.last = now
        known.packets += 1
        self._drops[flow] = known
        if len(self._drops) > _MANY:
            self._drops.popitem(last=False)

    def listed(self) -> list[Drop]:
        """The last one first."""
        return list(reversed(self._drops.values()))
