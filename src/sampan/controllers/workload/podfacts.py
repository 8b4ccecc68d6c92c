"""Facts about a pod that controllers ask for (upstream ``api/v1/pod`` and ``controller_utils.go``). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from sampan.api.clock import parse_time
from sampan.api.types import Condition, Obj

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase(pod: Obj) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def is_terminal(pod: Obj) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_terminating(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_active(pod: Obj) -> bool:
    return not is_terminal(pod) and not is_terminating(pod)


def condition(pod: Obj, kind: str) -> Condition | None:
    for entry in pod.get("status", {}).get("conditions") or ():
        if entry.get("type") == kind:
            found: Condition = entry
            return found
    return None


def is_ready(pod: Obj) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def ready_since(pod: Obj) -> datetime | None:
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True" or not ready.get("lastTransitionTime"):
        return None
    return parse_time(ready["lastTransitionTime"])


def available_in_seconds(pod: Obj, min_ready_seconds: int, now: datetime) -> float | None:
    """0: available now; more: when it will be if it stays ready; None: it is not ready."""
    if not is_ready(pod):
        return None
    if min_ready_seconds == 0:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, (since + timedelta(seconds=min_ready_seconds) - now).total_seconds())


def restarts(pod: Obj) -> int:
    return max((int(s.get("restartCount", 0)) for s in pod.get("status", {}).get("containerStatuses") or ()), default=0)


def deletion_cost(pod: Obj) -> int:
    """0 when the annotation is missing or malformed, as upstream."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def node_name(pod: Obj) -> str:
    return str(pod.get("spec", {}).get("nodeName", ""))


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
            _age_bucket(_created(pod), now),
            str(pod["metadata"].get("uid", "")),
        )

    return sorted(pods, key=rank)


def _created(pod: Obj) -> datetime | None:
    text = pod["metadata"].get("creationTimestamp")
    return parse_time(text) if text else None


def _age_bucket(since: datetime | None, now: datetime) -> int:
    """Ages count by their power of two, so that victims are not always simply the youngest."""
    if since is None:
        return -1
    nanoseconds = (now - since) / timedelta(microseconds=1) * 1000
    return int(math.log2(nanoseconds)) if nanoseconds >= 1 else -1
