"""Deletes pods that do not tolerate a NoExecute taint of their node, in their own time (upstream ``tainteviction``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.nodes import taints
from sampan.api.pods import status as podstatus
from sampan.api.pods import tolerations
from sampan.api.reading import moment, whole
from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context
from sampan.controllers.workload import conditions
from sampan.controllers.workload.selecting import index_by_node, pods_of_node

NAME = "taint-eviction-controller"
NO_EXECUTE = "NoExecute"


def plan_eviction(pod: Obj, evicting: Sequence[Obj], now: datetime, first_seen: datetime | None = None) -> float | None:
    """Seconds until the pod has to go: 0 at once, None never. ``evicting`` are the node's NoExecute taints. Pure.

    A taint without ``timeAdded`` (kubectl sets none) counts from ``first_seen``, when the pod was first seen under it.
    """
    if not evicting:
        return None
    own = tolerations.of(pod)
    used: list[tuple[Obj, Obj]] = []
    for taint in evicting:
        matching = [toleration for toleration in own if tolerations.tolerates(toleration, taint)]
        if not matching:
            return 0.0
        used.extend((toleration, taint) for toleration in matching)
    waits = []
    for toleration, taint in used:
        seconds = whole(toleration, "tolerationSeconds")
        if seconds is None:
            continue
        since = moment(taint, "timeAdded") or first_seen or now
        waits.append(max(0.0, max(0, seconds) - (now - since).total_seconds()))
    return min(waits, default=None)


class TaintEvictionController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for("node-controller")  # whose role it has upstream too
        self._recorder = context.recorder(self._client, "taint-eviction-controller")
        self._nodes = context.informers.informer(NODES)
        self._pods = context.informers.informer(PODS)
        index_by_node(self._pods)
        #: Pods that will be deleted later, and since when that is known.
        self._marked: dict[ObjectKey, datetime] = {}
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._nodes, self._pods])
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._node_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        pod = self._pods.get(*key)
        if pod is None or not podstatus.is_active(pod):
            self._marked.pop(key, None)
            return DONE
        now = self._clock.now()
        node = self._nodes.get("", podstatus.node_name(pod))
        wait = plan_eviction(pod, taints.with_effect(node, NO_EXECUTE) if node else (), now, self._marked.get(key))
        if wait is None:
            if self._marked.pop(key, None) is not None:
                message = f"Cancelling deletion of Pod {key}"
                self._recorder.event(pod, "Normal", "TaintManagerEviction", message)
            return DONE
        if wait > 0:
            self._marked.setdefault(key, now)
            return Result(wait)
        self._recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        self._marked.pop(key, None)
        await self._evict(pod)
        return DONE

    async def _evict(self, pod: Obj) -> None:
        meta = pod["metadata"]
        message = "Taint manager: deleting due to NoExecute taint"
        made = conditions.make("DisruptionTarget", "True", "DeletionByTaintManager", message, self._clock.now())
        listed = conditions.put(pod.get("status", {}).get("conditions"), made)
        patch = {
            "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
            "status": {"conditions": objects.deep_copy(listed)},
        }
        try:
            await self._client.patch(PODS, meta["name"], patch, meta["namespace"], subresource="status")
            answer = await self._client.delete(PODS, meta["name"], meta["namespace"], uid=meta["uid"])
        except NotFound:
            return
        await observe(self._pods, answer, meta["namespace"])

    def _pod_changed(self, kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        moved = previous is None or (
            podstatus.node_name(pod) != podstatus.node_name(previous)
            or pod["spec"].get("tolerations") != previous["spec"].get("tolerations")
        )
        name = podstatus.node_name(pod)
        if not name or not moved or not self._nodes.has_synced:
            return
        node = self._nodes.get("", name)
        if node is not None and taints.with_effect(node, NO_EXECUTE):
            self._controller.enqueue(key_of(pod))

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        before = taints.with_effect(previous, NO_EXECUTE) if previous is not None else []
        if kind != "DELETED" and taints.with_effect(node, NO_EXECUTE) != before:
            for pod in pods_of_node(self._pods, node["metadata"]["name"]):
                self._controller.enqueue(key_of(pod))
