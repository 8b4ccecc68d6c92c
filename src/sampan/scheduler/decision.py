"""A decision: the node, or how many nodes each plugin ruled out and why; the best scores.

The FailedScheduling message is made of it, and what is kept of the attempt (``recording.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field

from sampan.client.keys import ObjectKey
from sampan.records import dataclass
from sampan.scheduler.arrays import Ids
from sampan.scheduler.framework import Verdict

NO_NODES = "no nodes available to schedule pods"


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
    #: on every slot, when no node can take the pod
    verdicts: Ids | None = None

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


def fit_error(nodes: int, reasons: Mapping[str, int], pre_filter: str = "", post_filter: str = "") -> str:
    """``framework.FitError``: reasons sorted as text, counts included."""
    text = f"0/{nodes} nodes are available:"
    if pre_filter:
        text += f" {pre_filter}."
    elif reasons:
        text += f" {', '.join(sorted(f'{count} {reason}' for reason, count in reasons.items()))}."
    return f"{text} {post_filter}" if post_filter else text
