"""Which of its pods a controller gives up first (upstream ``controller_utils.go``). Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sampan.api.pods.status import (
    created,
    is_active,
    is_ready,
    node_name,
    phase,
    ready_since,
    restarts,
    sidecar_restarts,
)
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


class Traits(NamedTuple):
    """What of a pod decides whether it goes. How old it is by then is reckoned when pods are ranked."""

    node: str
    phase: int
    ready: bool
    cost: int
    ready_since: datetime | None
    #: of main containers, then of sidecars
    restarts: tuple[int, int]
    created: datetime | None
    uid: str


def traits(pod: Obj) -> Traits:
    return Traits(
        node=node_name(pod),
        phase=_PHASE_ORDER.get(phase(pod), 0),
        ready=is_ready(pod),
        cost=deletion_cost(pod),
        ready_since=ready_since(pod),
        restarts=(restarts(pod), sidecar_restarts(pod)),
        created=created(pod),
        uid=str(pod["metadata"].get("uid", "")),
    )


#: Reads all of some pods, and may remember what it said of each.
Reader = Callable[[Sequence[Obj]], Sequence[Traits]]


def first_to_go(
    pods: Sequence[Obj], count: int, related: Sequence[Obj], now: datetime, read: Reader | None = None
) -> list[Obj]:
    """So many of the pods; where all go, in no order."""
    return list(pods) if count >= len(pods) else ranked_for_deletion(pods, related, now, read)[:count]


def ranked_for_deletion(
    pods: Sequence[Obj], related: Sequence[Obj], now: datetime, read: Reader | None = None
) -> list[Obj]:
    """Pods in the order they should go (upstream ``ActivePodsWithRanks``, logarithmic scale down).

    ``related`` are the active pods of all replica sets of the same owner: who shares a node with many goes first.
    """
    crowd = Counter(node_name(pod) for pod in related if is_active(pod))
    buckets: dict[datetime | None, int] = {}

    def age(since: datetime | None) -> int:
        if since not in buckets:
            buckets[since] = _age_bucket(since, now)
        return buckets[since]

    def rank(pod: Traits) -> tuple[bool, int, bool, int, int, int, int, int, int, str]:
        regular, sidecars = pod.restarts
        ready_for = age(pod.ready_since) if pod.ready else 0
        return (
            pod.node != "", pod.phase, pod.ready, pod.cost, -crowd[pod.node], ready_for,
            -regular, -sidecars, age(pod.created), pod.uid,
        )  # fmt: skip

    ranks = [rank(known) for known in (read(pods) if read is not None else map(traits, pods))]
    return [pods[place] for place in sorted(range(len(pods)), key=ranks.__getitem__)]


def age_ratios(pods: Iterable[Traits], victims: Iterable[Traits], now: datetime) -> list[int]:
    """Of the Ready ones that go: how many times as old as the youngest Ready pod. Whole numbers, as upstream's."""
    born = [pod.created for pod in pods if pod.ready and pod.created is not None]
    if not born:
        return []
    youngest = (now - max(born)) // timedelta(milliseconds=1)
    ages = [(now - pod.created) // timedelta(milliseconds=1) for pod in victims if pod.ready and pod.created]
    return [age // youngest for age in ages] if youngest > 0 else []


def _age_bucket(since: datetime | None, now: datetime) -> int:
    """Ages count by their power of two, so that victims are not always simply the youngest."""
    if since is None:
        return -1
    nanoseconds = (now - since) / timedelta(microseconds=1) * 1000
    return int(math.log2(nanoseconds)) if nanoseconds >= 1 else -1
