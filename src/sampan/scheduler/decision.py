"""The record of a decision: how many nodes each plugin ruled out and why, the best scores, what came of it.

Kept for the newest pods in a bounded map; `sampan why` and the FailedScheduling message read it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from sampan.client.keys import ObjectKey
from sampan.records import dataclass
from sampan.scheduler.framework import Verdict

NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Ruled:
    """Nodes that one plugin ruled out for one reason."""

    plugin: str
    nodes: int
    reasons: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """``node`` is "" when no node can take the pod; ``message`` is then what the event says."""

    pod: ObjectKey
    uid: str
    node: str = ""
    nodes: int = 0
    feasible: int = 0
    #: verdict -> nodes
    ruled_out: Mapping[Verdict, int] = field(default_factory=dict)
    #: what PreFilter said when it ruled out all nodes
    pre_filter: str = ""
    post_filter: str = ""
    top: tuple[tuple[str, float], ...] = ()
    at: datetime | None = None

    @property
    def message(self) -> str:
        if self.node:
            return f"Successfully assigned {self.pod} to {self.node}"
        return NO_NODES if not self.nodes else fit_error(self.nodes, self.reasons(), self.pre_filter, self.post_filter)

    def reasons(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for verdict, nodes in self.ruled_out.items():
            for reason in verdict.reasons:
                found[reason] += nodes
        return found

    def plugins(self) -> frozenset[str]:
        """Those that turned a node down."""
        return frozenset(verdict.plugin for verdict in self.ruled_out)

    def by_plugin(self) -> list[Ruled]:
        """Most nodes first."""
        ordered = sorted(self.ruled_out.items(), key=lambda item: -item[1])
        return [Ruled(verdict.plugin, nodes, verdict.reasons, verdict.detail) for verdict, nodes in ordered]


def fit_error(nodes: int, reasons: Mapping[str, int], pre_filter: str = "", post_filter: str = "") -> str:
    """``framework.FitError``: reasons sorted as text, counts included."""
    text = f"0/{nodes} nodes are available:"
    if pre_filter:
        text += f" {pre_filter}."
    elif reasons:
        text += f" {', '.join(sorted(f'{count} {reason}' for reason, count in reasons.items()))}."
    return f"{text} {post_filter}" if post_filter else text


class Decisions:
    """The latest decision on each pod, for the ``limit`` pods decided on last."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._records: OrderedDict[ObjectKey, Decision] = OrderedDict()

    def put(self, decision: Decision) -> None:
        self._records[decision.pod] = decision
        self._records.move_to_end(decision.pod)
        if len(self._records) > self._limit:
            self._records.popitem(last=False)

    def get(self, namespace: str, name: str) -> Decision | None:
        return self._records.get(ObjectKey(namespace, name))

    def __len__(self) -> int:
        return len(self._records)
