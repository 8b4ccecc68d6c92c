"""How fast pods of ill nodes are evicted: by zone, slower or not at all where many nodes are ill at once (upstream
``nodelifecycle``). Pure bookkeeping: the caller tells what nodes are like and what time it is.

The more nodes of a zone are silent, the likelier it is that the network is at fault and not the nodes. A zone whose
nodes are ill in great part is evicted slowly, a small one not at all; when no node of any zone is well, nobody is.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from sampan.api.reading import text_map
from sampan.api.types import Obj
from sampan.records import dataclass

_REGION, _ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
_OLD_REGION, _OLD_ZONE = "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone"
#: A node with this label says nothing of its zone's health.
_EXCLUDED = "node.kubernetes.io/exclude-disruption"


class State(Enum):
    NORMAL = "Normal"
    #: more than two nodes, and the threshold's part of all, are not ready
    PARTIAL = "PartialDisruption"
    #: no node is ready
    FULL = "FullDisruption"


@dataclass(frozen=True, slots=True)
class Rates:
    """Nodes a second, and what they depend on (``ControllersConfig``)."""

    primary: float
    secondary: float
    large_zone: int
    unhealthy: float


def zone_of(node: Obj) -> str:
    labels = text_map(node["metadata"], "labels")
    region = labels.get(_REGION) or labels.get(_OLD_REGION, "")
    zone = labels.get(_ZONE) or labels.get(_OLD_ZONE, "")
    return f"{region}:{zone}" if region or zone else ""


def counts(node: Obj) -> bool:
    """Whether the node's health says something of its zone's."""
    return _EXCLUDED not in text_map(node["metadata"], "labels")


def state_of(ready: int, ill: int, threshold: float) -> State:
    if ready == 0 and ill > 0:
        return State.FULL
    if ill > 2 and ill / (ready + ill) >= threshold:
        return State.PARTIAL
    return State.NORMAL


class _Node(NamedTuple):
    zone: str
    ready: bool
    counts: bool


class _Zone:
    def __init__(self, rate: float) -> None:
        self.ready = self.ill = self.excluded = 0
        self.rate = rate
        #: when the next node may be tainted, on the caller's clock
        self.free_at = float("-inf")
        #: nodes that wait, in their order
        self.waiting: dict[str, None] = {}

    def set_rate(self, rate: float, now: float) -> None:
        """As a token bucket that holds one: who has just taken it, or could take none, waits a whole turn."""
        if rate == self.rate:
            return
        if rate > 0 and (self.rate <= 0 or now < self.free_at):
            self.free_at = now + 1 / rate
        self.rate = rate


class Zones:
    """Which nodes wait for their NoExecute taint, and when each zone may give the next one."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._nodes: dict[str, _Node] = {}
        self._zones: dict[str, _Zone] = {}
        #: No node at all is ready: the fault is taken to be here, and nobody is evicted.
        self.stopped = False

    def note(self, name: str, zone: str, *, ready: bool, counts: bool) -> bool:
        """What a node is like now. True: its zone is to be judged again."""
        new, old = _Node(zone, ready, counts), self._nodes.get(name)
        if new == old:
            return False
        self._nodes[name] = new
        self._count(new, +1)
        if old is not None:
            if old.zone != zone and name in self._zones[old.zone].waiting:
                del self._zones[old.zone].waiting[name]
                self._zones[zone].waiting[name] = None
            self._count(old, -1)
        return True

    def forget(self, name: str) -> bool:
        old = self._nodes.pop(name, None)
        if old is None:
            return False
        self._zones[old.zone].waiting.pop(name, None)
        self._count(old, -1)
        return True

    def judge(self, now: float) -> bool:
        """Sets every zone's rate by its state. True: evictions were stopped altogether, or go on again."""
        counted = [zone for zone in self._zones.values() if zone.ready + zone.ill]
        states = [state_of(zone.ready, zone.ill, self._rates.unhealthy) for zone in counted]
        was, self.stopped = self.stopped, bool(states) and all(state is State.FULL for state in states)
        for zone, state in zip(counted, states, strict=True):
            zone.set_rate(0.0 if self.stopped else self._rate_of(zone, state), now)
        return self.stopped != was

    def wait(self, name: str) -> str:
        """The node is to be tainted in its turn; the zone where it waits."""
        zone = self._nodes[name].zone
        self._zones[zone].waiting.setdefault(name)
        return zone

    def release(self, name: str) -> None:
        """The node is well again, or tainted."""
        if name in self._nodes:
            self._zones[self._nodes[name].zone].waiting.pop(name, None)

    def head(self, zone: str) -> str:
        """The node whose turn it is next; "" when none waits, or none may go."""
        found = self._zones.get(zone)
        return next(iter(found.waiting), "") if found is not None and found.rate > 0 else ""

    def seconds_to_wait(self, zone: str, now: float) -> float:
        return max(0.0, self._zones[zone].free_at - now)

    def took(self, zone: str, now: float) -> None:
        """A node was tainted: the next one has to wait."""
        found = self._zones.get(zone)
        if found is not None and found.rate > 0:
            found.free_at = now + 1 / found.rate

    def names(self) -> list[str]:
        return list(self._zones)

    def _rate_of(self, zone: _Zone, state: State) -> float:
        if state is not State.PARTIAL:
            return self._rates.primary
        return self._rates.secondary if zone.ready + zone.ill > self._rates.large_zone else 0.0

    def _zone(self, name: str) -> _Zone:
        found = self._zones.get(name)
        if found is None:
            found = self._zones[name] = _Zone(self._rates.primary)
        return found

    def _count(self, node: _Node, by: int) -> None:
        zone = self._zone(node.zone)
        if node.counts and node.ready:
            zone.ready += by
        elif node.counts:
            zone.ill += by
        else:
            zone.excluded += by
        if not zone.ready + zone.ill + zone.excluded:
            del self._zones[node.zone]
