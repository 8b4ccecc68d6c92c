"""The node's own objects: its Node and its Lease.

Used by ``sampan.node.agent``. ``NodeRegistration`` registers, renews the Lease every 10 s, and looks as often whether
the Node in the API still says what is so: what is not is reported, and at the latest every 5 minutes a heartbeat.
The Node has other writers (controllers, node-problem-detector, administrators): theirs is left alone. It is never
deleted here, and taints are written only when it is made. A Node that somebody deletes stays away, and its Lease with
it, until the agent starts anew: so it is with upstream's kubelet, and whoever removes a node relies on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Literal

from sampan.api.clock import Clock, format_micro_time
from sampan.api.errors import AlreadyExists, ApiError, NotFound
from sampan.api.resources import LEASES, NODES
from sampan.api.storage.volumes import LOCAL_ROOT
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.signal import Signal
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.node_status import (
    describe_conditions,
    differs,
    judge_health,
    plan_patch,
    rebooted,
    render_conditions,
    render_labels,
    render_status,
    transitions,
)
from sampan.node.pods.context import Recorder

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
_CHECK_SECONDS = 10.0
#: While a node that has just started is not Ready.
_FIRST_LOOK_SECONDS, _FIRST_LOOKS = 0.1, 300
_ANNOTATIONS = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}


class NodeRegistration:
    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        source: runtime.Runtime,
        host: Host,
        clock: Clock,
        recorder: Recorder | None = None,
    ) -> None:
        """``recorder``: is told how the node fares; None: nobody is."""
        self._config = config
        self._recorder = recorder
        #: whether pods may come, as it was told last; None: not yet
        self._unschedulable: bool | None = None
        self._client = client
        self._runtime = source
        self._host = host
        self._clock = clock
        self.machine = host.machine()
        #: the Node as it was last seen
        self.node: Obj = {}
        #: what the runtime can do, as it said last
        self.features = runtime.Features()
        #: why the node takes no pods, beside what the runtime says; "": nothing is wrong with it
        self.ailment: Callable[[], str] = lambda: ""
        #: what the node is short of, as conditions
        self.pressures: Callable[[], Collection[str]] = lambda: ()
        #: what device plug-ins lend: capacity and allocatable by resource
        self.devices: Callable[[], Mapping[str, tuple[int, int]]] = dict
        #: what may not be taken off the node yet
        self.volumes_in_use: Callable[[], list[str]] = list
        self._reported_at = float("-inf")
        self._asked = Signal()
        #: it was registered, and is there no more
        self._gone = False

    @property
    def uid(self) -> str:
        return str(self.node.get("metadata", {}).get("uid", ""))

    async def register(self) -> None:
        """Creates or adopts the Node and reports its status. Raises ApiError, RuntimeCallError."""
        labels = render_labels(self.machine, self._config)
        node: Obj = {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": self._config.node_name,
                "labels": {**labels, **self._config.labels},
                "annotations": self._annotations(),
            },
            "spec": {"taints": [dict(taint) for taint in self._config.taints]} if self._config.taints else {},
            "status": await self._render({}),
        }
        try:
            self.node = await self._client.create(NODES, node)
            self._reported_at = asyncio.get_running_loop().time()
            self._tell_of_changes(node["status"], {})
        except AlreadyExists:
            self.node = await self._client.get(NODES, self._config.node_name)
            meta, annotations = self.node["metadata"], self._annotations()
            if not (_holds(meta.get("labels"), labels) and _holds(meta.get("annotations"), annotations)):
                patch = {"metadata": {"labels": labels, "annotations": annotations}}
                self.node = await self._client.patch(NODES, self._config.node_name, patch)
        await self.report()
        await self.renew_lease()

    def _annotations(self) -> dict[str, str]:
        root = self._config.local_volumes
        return _ANNOTATIONS | ({} if root is None else {LOCAL_ROOT: str(root)})

    async def _render(self, present: Obj) -> Obj:
        """The whole status as it should be, given what the API has."""
        now = self._clock.now()
        try:
            version, images = await self._runtime.version(), await self._runtime.list_images()
            not_ready = describe_conditions(await self._runtime.conditions())
            self.features = await self._runtime.features()
        except runtime.RuntimeCallError as error:
            version, images = runtime.Version("containerd", "unknown"), []
            not_ready = f"container runtime is down: {error}"
        status = render_status(self.machine, self._config, version, images, self.features, present, self.devices())
        not_ready = ", ".join(filter(None, (not_ready, self.ailment())))
        health = judge_health(self.pressures(), not_ready)
        status["volumesInUse"] = self.volumes_in_use() or None
        status["conditions"] = render_conditions(health, present.get("conditions") or (), now)
        return status

    async def _present(self) -> Obj:
        """The Node as the API has it now, whoever wrote it. Raises NotFound, ApiError."""
        view = self._client.cache_view(NODES)
        if view is not None and (node := view.get("", self._config.node_name)) is not None:
            return node
        return await self._client.get(NODES, self._config.node_name)

    async def refresh(self) -> None:
        """``node`` is what the API has now. Raises ApiError."""
        self.node = await self._present()

    async def report(self) -> None:
        """Patches what the API's status does not say, or everything when a heartbeat is due. Raises ApiError."""
        self.node = await self._present()
        self._gone = False
        self._tell_whether_schedulable()
        present = self.node.get("status") or {}
        wanted = await self._render(present)
        loop_time = asyncio.get_running_loop().time()
        if loop_time - self._reported_at < self._config.status_report_seconds and not differs(wanted, present):
            return
        patch = {"status": plan_patch(wanted, present)}
        self.node = await self._client.patch(
            NODES, self._config.node_name, patch, patch_type="strategic", subresource="status"
        )
        self._reported_at = loop_time
        self._tell_of_changes(wanted, present)

    def tell(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """An Event of the node. As the kubelet's it names the node by its name in place of the uid, which nobody knows
        before it is registered; ``kubectl describe`` looks for both."""
        if self._recorder is not None:
            name = self._config.node_name
            self._recorder.event({"kind": "Node", "apiVersion": "v1", "name": name, "uid": name}, kind, reason, message)

    def _tell_of_changes(self, now: Obj, before: Obj) -> None:
        name = self._config.node_name
        for reason in transitions(now, before):
            self.tell("Normal", reason, f"Node {name} status is now: {reason}")
        if boot_id := rebooted(now, before):
            self.tell("Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {boot_id}")

    def _tell_whether_schedulable(self) -> None:
        unschedulable = bool((self.node.get("spec") or {}).get("unschedulable"))
        if self._unschedulable not in (None, unschedulable):
            reason = "NodeNotSchedulable" if unschedulable else "NodeSchedulable"
            self.tell("Normal", reason, f"Node {self._config.node_name} status is now: {reason}")
        self._unschedulable = unschedulable

    async def renew_lease(self) -> None:
        config = self._config
        spec = {
            "holderIdentity": config.node_name,
            "leaseDurationSeconds": config.lease_duration_seconds,
            "renewTime": format_micro_time(self._clock.now()),
        }
        owner = {"apiVersion": "v1", "kind": "Node", "name": config.node_name, "uid": self.uid}
        try:
            await self._client.patch(LEASES, config.node_name, {"spec": spec}, LEASE_NAMESPACE)
        except NotFound:
            # A Lease without its Node would stay behind for ever: nobody owns it.
            owner["uid"] = str((await self._present())["metadata"]["uid"])
            lease = {
                "kind": "Lease",
                "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": config.node_name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
                "spec": spec,
            }
            await self._client.create(LEASES, lease)

    async def run(self) -> None:
        """Lease and status, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.renew_lease, self._config.lease_renew_seconds), name="lease")
            group.create_task(self._repeat(self.report, _CHECK_SECONDS, self._asked), name="node-status")
            group.create_task(self._look_for_network(), name="first-ready")

    def look(self) -> None:
        """Something about the node has changed: it is reported at once."""
        self._asked.set()

    async def _look_for_network(self) -> None:
        """Tells of the first Ready at once, as the kubelet does: without a range there is no pod network yet."""
        for _ in range(_FIRST_LOOKS):
            conditions = (self.node.get("status") or {}).get("conditions") or ()
            if any(item["type"] == "Ready" and item["status"] == "True" for item in conditions):
                return
            await asyncio.sleep(_FIRST_LOOK_SECONDS)
            try:
                if not describe_conditions(await self._runtime.conditions()):
                    self.look()
            except runtime.RuntimeCallError:
                continue  # it is told by the usual look

    async def _repeat(self, step: Callable[[], Awaitable[None]], seconds: float, asked: Signal | None = None) -> None:
        asked = asked or Signal()
        while True:
            try:
                async with asyncio.timeout(seconds):
                    await asked.wait()
            except TimeoutError:
                pass  # the usual case
            asked.clear()
            try:
                await step()
            except NotFound as error:
                if not self._gone:  # every few seconds it would be the same
                    log.warning(
                        "node %s: %s: it was deleted; start the node agent again to have it registered anew",
                        *(self._config.node_name, error),
                    )
                self._gone = True
            except (ApiError, OSError, TimeoutError) as error:
                log.warning("node %s: %s", self._config.node_name, error)


def _holds(present: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    return all((present or {}).get(name) == value for name, value in wanted.items())
