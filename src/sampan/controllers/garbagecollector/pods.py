"""Deletes pods that nobody else will: too many finished ones, and those of nodes that are gone (upstream ``podgc``).

Woken by events, never by a period: a pod that ends, a node that goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.pods import status as podstatus
from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.timeline import Timeline
from sampan.controllers.context import Context
from sampan.controllers.workload import conditions

NAME = "pod-garbage-collector"
_FINISHED = "finished"
_ORPHANS = "orphans"
_PHASE_INDEX = "finished-pods"


def plan_finished(pods: Sequence[Obj], threshold: int) -> list[Obj]:
    """The oldest finished pods above the threshold. Pure."""
    surplus = len(pods) - threshold
    if threshold <= 0 or surplus <= 0:
        return []
    return sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))[
        :surplus
    ]


class PodGarbageCollector:
    def __init__(self, context: Context) -> None:
        self._threshold = context.config.terminated_pod_threshold
        self._quarantine_seconds = context.config.orphaned_pod_quarantine_seconds
        self._clock = Timeline.of(context.clock)
        self._client = context.client_for(NAME)
        self._pods = context.informers.informer(PODS)
        self._nodes = context.informers.informer(NODES)
        #: When each missing node was first missed, on the timeline.
        self._missing: dict[str, float] = {}
        self._pods.add_index(_PHASE_INDEX, lambda pod: (_FINISHED,) if podstatus.is_terminal(pod) else ())
        self._controller: Controller[str] = Controller(NAME, self.sync, workers=1, informers=[self._pods, self._nodes])
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._node_changed)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: str) -> Result:
        if key == _FINISHED:
            for pod in plan_finished(self._pods.by_index(_PHASE_INDEX, _FINISHED), self._threshold):
                await self._delete(pod)
            return DONE
        return await self._collect_orphans()

    async def _collect_orphans(self) -> Result:
        now = self._clock.monotonic()
        orphans: dict[str, list[Obj]] = {}
        for pod in self._pods.list():
            node = podstatus.node_name(pod)
            if node and self._nodes.get("", node) is None:
                orphans.setdefault(node, []).append(pod)
        self._missing = {node: self._missing.get(node, now) for node in orphans}
        waits = []
        for node, pods in orphans.items():
            wait = self._missing[node] + self._quarantine_seconds - now
            if wait > 0:
                waits.append(wait)
            elif await self._is_gone(node):
                for pod in pods:
                    await self._fail_and_delete(pod)
        return Result(min(waits, default=None))

    async def _is_gone(self, node: str) -> bool:
        try:
            await self._client.get(NODES, node)
        except NotFound:
            return True
        return False

    async def _fail_and_delete(self, pod: Obj) -> None:
        if not podstatus.is_terminal(pod):
            message = "PodGC: node no longer exists"
            made = conditions.make("DisruptionTarget", "True", "DeletionByPodGC", message, self._clock.now())
            listed = conditions.put(pod.get("status", {}).get("conditions"), made)
            meta = pod["metadata"]
            patch = {
                "metadata": {"uid": meta["uid"]},
                "status": {"phase": "Failed", "conditions": objects.deep_copy(listed)},
            }
            try:
                await self._client.patch(PODS, meta["name"], patch, meta["namespace"], subresource="status")
            except NotFound:
                return
        await self._delete(pod)

    async def _delete(self, pod: Obj) -> None:
        meta = pod["metadata"]
        try:
            answer = await self._client.delete(
                PODS, meta["name"], meta["namespace"], uid=meta["uid"], grace_period_seconds=0
            )
        except NotFound:
            return
        await observe(self._pods, answer, meta["namespace"])

    def _pod_changed(self, kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            return
        if podstatus.is_terminal(pod) and self._over_threshold():
            self._controller.enqueue(_FINISHED)
        node = podstatus.node_name(pod)
        if node and self._nodes.has_synced and self._nodes.get("", node) is None and not self._is_waiting_for(node):
            self._controller.enqueue(_ORPHANS)

    def _is_waiting_for(self, node: str) -> bool:
        """A sync will come by itself when the node has been missing for long enough."""
        missed = self._missing.get(node)
        return missed is not None and self._clock.monotonic() < missed + self._quarantine_seconds

    def _over_threshold(self) -> bool:
        return 0 < self._threshold < self._pods.count(_PHASE_INDEX, _FINISHED)

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        # At the start, ADDED too: pods of nodes that went while nobody looked.
        if kind == "DELETED" or not self._nodes.has_synced:
            self._controller.enqueue(_ORPHANS)
