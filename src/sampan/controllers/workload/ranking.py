"""Which of its pods a controller gives up first (upstream ``controller_utils.go``). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from sampan.api.pods.status import created, is_active, is_ready, node_name, phase, ready_since, restarts
from sampan.api.reading import part, text_map
from sampan.api.types import Obj

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_cost(pod: Obj) -> int:
    """0 when the annotation is missing or malformed, as upstream."""
    text = text_map(part(pod, "metadata"), "annotations").get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def ranked_for_deletion(pods: Sequence[Obj], related: Sequence[Obj], now: datetime) -> list[Obj]:
    """Pods in the order they should go (upstream ``ActivePodsWithRanks``, logarithmic scale down).

    ``related`` are the active pods of all replica sets of the same owner: who shares a node with many goes first.
    """
    crowd: dict[str, int] = {}
    for pod in related:
        if is_active(pod):
            crowd[node_name(pod)] = crowd.get(node_name(pod), 0) + 1

    def rank(pod: Obj) -> tuple[int, int, int, int, int, int, int, int, str]:
        node = node_name(pod)
        ready = is_ready(pod)
        return (
            1 if node else 0,
            _PHASE_ORDER.get(phase(pod), 0),
            1 if ready else 0,
            deletion_cost(pod),
            -crowd.get(node, 0),
            _age_bucket(ready_since(pod), now) if ready else 0,
            -restarts(pod),
            _age_bucket(created(pod), now),
            str(pod["metadata"].get("uid", "")),
        )

    return sorted(pods, key=rank)


def _age_bucket(since: datetime | None, now: datetime) -> int:
    """Ages count by their power of two, so that victims are not always simply the youngest."""
    if since is None:
        return -1
    nanoseconds = (now - since) / timedelta(microseconds=1) * 1000
    return int(math.log2(nanoseconds)) if nanoseconds >= 1 else -1
