"""The cluster as decisions see it: nodes as arrays, the pods on them, pods assumed to be on them, nominations.

Fed by the shell from informers. An assumed pod counts on its node from the decision on, before the API knows; the
informer's report confirms it, a failed binding forgets it. One event loop, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sampan.api.labels import Selector
from sampan.api.types import Obj
from sampan.scheduler.arrays import NodeArrays
from sampan.scheduler.devices.store import Devices
from sampan.scheduler.framework import Verdicts
from sampan.scheduler.podcounts import PodCounts
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.storage import Storage


class Supposition:
    """Pods supposed to have joined or left one node. ``here``: the pods on it as supposed; a copy, so that the order of
    those that are there in truth stays as it is. Knows its steps, so that they can be taken back."""

    def __init__(self, count: Callable[[int, PodInfo, int], None], slot: int, here: dict[str, PodInfo]) -> None:
        self.slot = slot
        self.here = here
        self._count = count
        self._steps: list[tuple[PodInfo, int]] = []

    def join(self, pod: PodInfo) -> None:
        self.here[pod.uid] = pod
        self._step(pod, 1)

    def leave(self, pod: PodInfo) -> None:
        del self.here[pod.uid]
        self._step(pod, -1)

    def undo(self) -> None:
        while self._steps:
            pod, sign = self._steps.pop()
            self._count(self.slot, pod, -sign)

    def _step(self, pod: PodInfo, sign: int) -> None:
        self._count(self.slot, pod, sign)
        self._steps.append((pod, sign))


class Cluster:
    """Invariants: every pod in ``_where`` is in ``pods_on`` of that node and, when the node is known, counted in
    ``nodes`` and ``counts``; assumed pods are among them."""

    def __init__(self, storage: Storage | None = None, devices: Devices | None = None) -> None:
        self.nodes = NodeArrays()
        self.verdicts = Verdicts()
        self.counts = PodCounts(self.nodes)
        self.storage = storage or Storage()
        self.devices = devices or Devices()
        self.pods_on: dict[str, dict[str, PodInfo]] = {}
        self._where: dict[str, str] = {}
        self._assumed: set[str] = set()
        self.nominated: dict[str, tuple[PodInfo, str]] = {}
        self.namespace_labels: dict[str, Mapping[str, str]] = {}
        #: anything that follows from the namespaces' labels; forgotten when these change
        self.of_namespaces: dict[Any, Any] = {}
        #: what selects a pod without spread constraints of its own; the shell supplies it
        self.default_selector: Callable[[PodInfo], Selector | None] = lambda pod: None

    # Nodes

    def put_node(self, node: Obj) -> int:
        name = node["metadata"]["name"]
        known = name in self.nodes.slot_of
        slot = self.nodes.put(node)
        if not known:
            for pod in self.pods_on.get(name, {}).values():
                self._count(slot, pod, 1)
        return slot

    def drop_node(self, name: str) -> None:
        slot = self.nodes.slot_of.get(name)
        if slot is None:
            return
        for pod in self.pods_on.get(name, {}).values():
            self._count(slot, pod, -1)
        self.nodes.drop(name)

    # Pods

    def put_pod(self, pod: PodInfo) -> None:
        """The informer's word: replaces an assumption and any earlier state."""
        if self._where.get(pod.uid) == pod.node_name and self.pods_on[pod.node_name][pod.uid].weighs_as(pod):
            # As most were assumed to be: nothing that anybody counts is another.
            self.pods_on[pod.node_name][pod.uid] = pod
            self.counts.renew(pod)
            self._assumed.discard(pod.uid)
            self.nominated.pop(pod.uid, None)
            return
        self._remove(pod.uid)
        self._add(pod, pod.node_name)
        self.nominated.pop(pod.uid, None)

    def drop_pod(self, uid: str) -> None:
        self._remove(uid)

    def assume(self, pod: PodInfo, node: str) -> None:
        self._add(pod, node)
        self._assumed.add(pod.uid)
        self.nominated.pop(pod.uid, None)

    def forget(self, pod: PodInfo) -> str:
        """Takes back an assumption; returns the node, "" when the informer has confirmed or removed the pod."""
        if pod.uid not in self._assumed:
            return ""
        return self._remove(pod.uid)

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def node_of(self, uid: str) -> str:
        return self._where.get(uid, "")

    def nominate(self, pod: PodInfo, node: str) -> None:
        if node:
            self.nominated[pod.uid] = (pod, node)
        else:
            self.nominated.pop(pod.uid, None)

    @contextmanager
    def hypothetical(self, node: str) -> Iterator[Supposition]:
        """The cluster as if pods had left a node, or had joined it. All is as before when the block ends, however it
        ends. For decisions, never across an await."""
        before = self.pods_on.get(node)
        supposed = Supposition(self._count, self.nodes.slot_of[node], dict(before or ()))
        self.pods_on[node] = supposed.here
        try:
            yield supposed
        finally:
            supposed.undo()
            if before is None:
                del self.pods_on[node]
            else:
                self.pods_on[node] = before

    def renew_verdicts(self) -> None:
        """A new table for one that is full. Between decisions only: ids in arrays mean nothing any more."""
        self.verdicts = Verdicts()
        self.nodes.structure += 1

    def check_invariants(self) -> None:
        for uid, node in self._where.items():
            assert uid in self.pods_on[node], "a pod is not on its node"
        assert self._assumed <= self._where.keys(), "an assumed pod is nowhere"
        for name, slot in self.nodes.slot_of.items():
            pods = self.pods_on.get(name, {}).values()
            for resource, row in self.nodes.resources.items():
                wanted = sum(pod.requests.get(resource, 0) for pod in pods)
                assert self.nodes.requested[row, slot] == wanted, f"{resource} of {name} is miscounted"

    def _add(self, pod: PodInfo, node: str) -> None:
        self.pods_on.setdefault(node, {})[pod.uid] = pod
        self._where[pod.uid] = node
        slot = self.nodes.slot_of.get(node)
        if slot is not None:
            self._count(slot, pod, 1)

    def _remove(self, uid: str) -> str:
        node = self._where.pop(uid, "")
        self._assumed.discard(uid)
        if node:
            pod = self.pods_on[node].pop(uid)
            if not self.pods_on[node]:
                del self.pods_on[node]
            slot = self.nodes.slot_of.get(node)
            if slot is not None:
                self._count(slot, pod, -1)
        return node

    def _count(self, slot: int, pod: PodInfo, sign: int) -> None:
        self.nodes.add_usage(slot, pod, sign)
        self.counts.add(slot, pod, sign)
        if pod.claims:
            self.storage.count(pod, sign)
