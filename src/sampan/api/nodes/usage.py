"""What a node, its pods and their containers have used: cumulative counts, and the rates between two looks. Pure.

Node agents tell counts (``/metrics/resource``), the API server keeps the last two looks at each node and serves rates
of them (``metrics.k8s.io``). Spec: metrics-server's storage, whose rules for restarted and vanished containers these
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from sampan.records import dataclass

#: (namespace, name)
PodName = tuple[str, str]
#: Looks that are closer than this are one: a rate between them would be noise.
LEAST_WINDOW_SECONDS: Final = 0.9


@dataclass(frozen=True, slots=True)
class Point:
    """``cpu_nanoseconds`` were used from ``started`` until ``time`` (both in seconds of the epoch; ``started`` 0: not
    known), and so much memory was in use at ``time``."""

    time: float
    cpu_nanoseconds: int
    memory_bytes: int
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """One look at a node: the machine, and of each pod its running containers by name."""

    node: Point | None = None
    pods: Mapping[PodName, Mapping[str, Point]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rate:
    """Use within ``window_seconds`` up to ``time``; of memory, at ``time``."""

    time: float
    window_seconds: float
    nano_cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Looks:
    """The last look at a node, and for each count in it an earlier one to compare it with, where there is any."""

    last: NodeUsage = NodeUsage()
    earlier: NodeUsage = NodeUsage()

    def next(self, new: NodeUsage) -> Looks:
        """After another look."""
        pods: dict[PodName, dict[str, Point]] = {}
        for name, containers in new.pods.items():
            last, earlier = self.last.pods.get(name, {}), self.earlier.pods.get(name, {})
            found = {
                container: base
                for container, point in containers.items()
                if (base := _base(point, last.get(container), earlier.get(container))) is not None
            }
            if found:
                pods[name] = found
        node = _base(new.node, self.last.node, self.earlier.node) if new.node is not None else None
        return Looks(new, NodeUsage(node, pods))

    @property
    def incomplete(self) -> bool:
        """Something was seen for the first time: the next look will tell its rate."""
        if self.last.node is not None and self.earlier.node is None:
            return True
        return any(
            len(self.earlier.pods.get(name, ())) < len(containers) for name, containers in self.last.pods.items()
        )

    def node(self) -> Rate | None:
        last, earlier = self.last.node, self.earlier.node
        return rate(last, earlier) if last is not None and earlier is not None else None

    def pod(self, name: PodName) -> Mapping[str, Rate] | None:
        """By container; None: of one of them no rate is known yet, or the node has no such pod."""
        last, earlier = self.last.pods.get(name), self.earlier.pods.get(name)
        if not last or earlier is None or len(earlier) < len(last):
            return None
        return {container: rate(point, earlier[container]) for container, point in last.items()}


def _base(new: Point, last: Point | None, earlier: Point | None) -> Point | None:
    """What to compare ``new`` with: the nearest of the two that is of the same container's life and far enough."""
    for point in (last, earlier):
        if (
            point is not None
            and new.time - point.time >= LEAST_WINDOW_SECONDS
            and new.cpu_nanoseconds >= point.cpu_nanoseconds
            and (not new.started or new.started <= point.time)
        ):
            return point
    return None


def rate(last: Point, earlier: Point) -> Rate:
    window = last.time - earlier.time
    used = last.cpu_nanoseconds - earlier.cpu_nanoseconds
    return Rate(last.time, window, int(used / window), last.memory_bytes)
