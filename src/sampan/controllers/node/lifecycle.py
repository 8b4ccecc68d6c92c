"""The shell of the node lifecycle controller: notices silent nodes, taints, and marks their pods not ready.

A node is heard when its Lease or its status changes, by this process's own timeline, so skewed clocks of nodes do
not matter. Heartbeats only note the time; one timer a node looks whether the grace period has passed. Nodes are tainted
for eviction one after another, zone by zone (``zones``).
"""

from __future__ import annotations

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.pods import status as podstatus
from sampan.api.resources import LEASES, NODES, PODS
from sampan.api.types import Condition, Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.client.timeline import Timeline
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.node import zones
from sampan.controllers.node.lifecycle_plan import Taints, plan_labels, plan_silent, plan_taints, ready_status
from sampan.controllers.workload import conditions
from sampan.controllers.workload.selecting import index_by_node, pods_of_node
from sampan.metrics import Counter, current

NAME = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"


class NodeLifecycleController:
    def __init__(self, context: Context) -> None:
        self._clock = Timeline.of(context.clock)
        self._grace_seconds = context.config.node_monitor_grace_seconds
        self._startup_grace_seconds = context.config.node_startup_grace_seconds
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._nodes = context.informers.informer(NODES)
        self._leases = context.informers.informer(LEASES)
        self._pods = context.informers.informer(PODS)
        index_by_node(self._pods)
        self._zones = zones.Zones(_rates(context.config))
        self._evictions = current().of(
            "node_collector_evictions",
            lambda: Counter(
                "node_collector_evictions", "Number of Node evictions since this controller started", ("zone",)
            ),
        )
        #: When each node was last heard, on the timeline.
        self._heard: dict[str, float] = {}
        #: nodes that it was told of, by name and uid
        self._known: dict[str, str] = {}
        self._controller: Controller[ObjectKey] = Controller(
            NAME, self.sync, workers=2, informers=[self._nodes, self._leases, self._pods]
        )
        #: by zone; they taint its nodes in their turn
        self._evictor: Controller[str] = Controller(f"{NAME} zones", self.sync_zone, workers=1, informers=[self._nodes])
        self._nodes.add_handler(self._node_changed)
        self._leases.add_handler(self._lease_changed)
        self._pods.add_handler(self._pod_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), evictor=self._evictor.run(), events=self._recorder.run())

    def _lease_changed(self, kind: ChangeType, lease: Obj, previous: Obj | None) -> None:
        meta = lease["metadata"]
        if meta.get("namespace") != LEASE_NAMESPACE or kind == "DELETED" or meta["name"] not in self._known:
            return  # a node that comes later is heard as it comes
        if previous is None or lease["spec"].get("renewTime") != previous["spec"].get("renewTime"):
            self._heard[meta["name"]] = self._clock.monotonic()

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        key = key_of(node)
        self._note_known(kind, node)
        self._note_zone(kind, node)
        if kind == "DELETED":
            self._heard.pop(key.name, None)
            return
        now = self._clock.monotonic()
        if previous is None:
            self._heard.setdefault(key.name, now)
        elif _heartbeat(node) != _heartbeat(previous):
            self._heard[key.name] = now
        if previous is None or _matters(node) != _matters(previous):
            self._controller.enqueue(key)

    def _note_known(self, kind: ChangeType, node: Obj) -> None:
        name, uid = node["metadata"]["name"], node["metadata"].get("uid", "")
        if kind == "DELETED":
            if self._known.pop(name, None) is not None:
                text = f"Node {name} event: Removing Node {name} from Controller"
                self._recorder.event(node, "Normal", "RemovingNode", text)
        elif self._known.get(name) != uid:
            self._known[name] = uid
            text = f"Node {name} event: Registered Node {name} in Controller"
            self._recorder.event(node, "Normal", "RegisteredNode", text)

    def _note_zone(self, kind: ChangeType, node: Obj) -> None:
        name, zone = node["metadata"]["name"], zones.zone_of(node)
        if kind == "DELETED":
            changed = self._zones.forget(name)
        else:
            ready = ready_status(node) == "True"
            changed = self._zones.note(name, zone, ready=ready, counts=zones.counts(node))
        if changed:
            self._evictor.enqueue(zone)

    def _pod_changed(self, kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        """A pod that came to a silent node (bound just before) is marked as well."""
        name = podstatus.node_name(pod)
        if kind == "DELETED" or not name or not podstatus.is_ready(pod) or not self._nodes.has_synced:
            return
        node = self._nodes.get("", name)
        if node is not None and ready_status(node) == "Unknown":
            self._controller.enqueue(key_of(node))

    async def sync(self, key: ObjectKey) -> Result:
        node = self._nodes.get(*key)
        if node is None:
            return DONE
        reported = conditions.find(node.get("status", {}).get("conditions"), "Ready") is not None
        grace = self._grace_seconds if reported else self._startup_grace_seconds
        now = self._clock.monotonic()
        remaining = self._heard.setdefault(key.name, now) + grace - now
        if remaining <= 0 and (not reported or ready_status(node) != "Unknown"):
            node = await self._mark_silent(node)
        if ready_status(node) == "Unknown" and (reported or remaining <= 0):
            await self._mark_pods(node)
        await self._write_labels(node)
        await self._write_taints(key.name, due=False)
        # A silent node needs no timer: its next heartbeat changes its status.
        return Result(max(remaining, 0.01)) if remaining > 0 else DONE

    async def _mark_silent(self, node: Obj) -> Obj:
        new = objects.deep_copy(node)
        new.setdefault("status", {})["conditions"] = plan_silent(node, self._clock.now())
        written = await self._client.update_status(NODES, new)
        await observe(self._nodes, written)
        if ready_status(node) == "True":
            text = f"Node {node['metadata']['name']} status is now: NodeNotReady"
            self._recorder.event(node, "Normal", "NodeNotReady", text)
        return written

    async def _mark_pods(self, node: Obj) -> None:
        """Pods of a node that is not heard are not ready: Services stop sending them traffic."""
        name = node["metadata"]["name"]
        for pod in pods_of_node(self._pods, name):
            if not podstatus.is_ready(pod):
                continue
            meta = pod["metadata"]
            ready: Condition = conditions.make("Ready", "False", "NodeNotReady", "", self._clock.now())
            del ready["message"]
            listed = conditions.put(pod.get("status", {}).get("conditions"), ready)
            patch = {
                "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
                "status": {"conditions": objects.deep_copy(listed)},
            }
            try:
                written = await self._client.patch(PODS, meta["name"], patch, meta["namespace"], subresource="status")
            except NotFound:
                continue
            await observe(self._pods, written, meta["namespace"])
            self._recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def sync_zone(self, zone: str) -> Result:
        """Taints the node whose turn it is."""
        now = self._clock.monotonic()
        self._judge(now)
        while name := self._zones.head(zone):
            wait = self._zones.seconds_to_wait(zone, now)
            if wait > 0:
                return Result(wait)
            if await self._write_taints(name, due=True):
                self._zones.took(zone, now)
                self._evictions.add(zone)
            self._zones.release(name)
        return DONE

    def _judge(self, now: float) -> None:
        if not self._zones.judge(now):
            return
        if not self._zones.stopped:
            # Nobody was heard for a while, for a reason of this process's: each node gets its whole time again.
            self._heard = dict.fromkeys(self._heard, now)
            for zone in self._zones.names():
                self._evictor.enqueue(zone)
        for node in self._nodes.list():
            self._controller.enqueue(key_of(node))

    async def _write_taints(self, name: str, *, due: bool) -> bool:
        """Whether the node has a taint of eviction that it had not."""
        current = self._nodes.get("", name)
        if current is None:
            return False
        # When no node at all is heard, the network of this process is at fault: nobody is evicted.
        taints = plan_taints(current, self._clock.now(), evict=not self._zones.stopped, due=due)
        if taints.waits:
            self._evictor.enqueue(self._zones.wait(name))
        else:
            self._zones.release(name)
        if not taints.changed:
            return False
        meta = current["metadata"]
        patch = {
            "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
            "spec": {"taints": objects.deep_copy(taints.wanted) or None},
        }
        await observe(self._nodes, await self._client.patch(NODES, name, patch))
        return due and _evicts(taints)

    async def _write_labels(self, node: Obj) -> None:
        labels = plan_labels(node)
        if labels:
            meta = node["metadata"]
            patch = {"metadata": {"uid": meta["uid"], "labels": labels}}
            await observe(self._nodes, await self._client.patch(NODES, meta["name"], patch))


def _evicts(taints: Taints) -> bool:
    return any(taint["effect"] == "NoExecute" for taint in taints.wanted)


def _rates(config: ControllersConfig) -> zones.Rates:
    return zones.Rates(
        config.node_eviction_rate,
        config.secondary_node_eviction_rate,
        config.large_cluster_size_threshold,
        config.unhealthy_zone_threshold,
    )


def _heartbeat(node: Obj) -> object:
    return [
        (entry.get("type"), entry.get("status"), entry.get("lastHeartbeatTime"))
        for entry in node.get("status", {}).get("conditions") or ()
    ]


def _matters(node: Obj) -> object:
    statuses = [(c.get("type"), c.get("status")) for c in node.get("status", {}).get("conditions") or ()]
    return statuses, node["spec"].get("taints"), node["spec"].get("unschedulable"), plan_labels(node)
