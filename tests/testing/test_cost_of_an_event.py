"""What one pod's event costs the whole cluster, counted: it does not grow with the nodes."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.testing.virtual_cluster import VirtualCluster

pytestmark = pytest.mark.timeout(120)

#: Calls that are somebody's turn rather than the event's (a timer that is due just then).
CHANCE = 0.02


def pod(name: str, node: str) -> Obj:
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "any"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def calls(work: Callable[[], object]) -> Counter[str]:
    """Calls of functions in Python, by name, while ``work`` runs."""
    found: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            found[frame.f_code.co_qualname] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


def cost(nodes: int, event: Callable[[VirtualCluster], None]) -> Counter[str]:
    async def turns() -> None:
        for _ in range(50):  # whoever was woken has his turn
            await asyncio.sleep(0)

    with VirtualCluster(nodes=nodes, seed=1) as cluster:
        for number in range(3):
            cluster.create(PODS, pod(f"p{number}", f"node-{number}"))
        cluster.run_until(lambda: all(each["status"].get("phase") == "Running" for each in cluster.list(PODS)))
        cluster.advance(12)
        event(cluster)  # what is made on first use has been made then
        cluster.advance(12)

        def measured() -> None:
            event(cluster)
            cluster.run(turns())

        return calls(measured)


def annotate(cluster: VirtualCluster) -> None:
    cluster.patch(PODS, "p1", {"metadata": {"annotations": {"at": str(cluster.now)}}})


def test_an_event_of_a_pod_costs_the_same_among_many_nodes() -> None:
    few, many = cost(3, annotate), cost(15, annotate)
    grown = {name: (few[name], count) for name, count in many.items() if count > few[name]}
    assert few.total() > 500, "the event was seen by nobody"
    assert many.total() <= few.total() * (1 + CHANCE), grown
