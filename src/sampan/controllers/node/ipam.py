"""Gives each node its own pod addresses, a part of the cluster's range (upstream ``nodeipam``, RangeAllocator)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context

NAME = "node-ipam-controller"


def plan_cidr(cluster_cidr: str, mask_size: int, taken: Iterable[str]) -> str | None:
    """The lowest free part of the range; None when all are taken. Pure."""
    network = ipaddress.ip_network(cluster_cidr)
    used = set(taken)
    return next((str(part) for part in network.subnets(new_prefix=mask_size) if str(part) not in used), None)


class NodeIpamController:
    def __init__(self, context: Context) -> None:
        self._config = context.config
        # Upstream's allocator acts as the node controller; there is no role of its own.
        self._client = context.client_for("node-controller")
        self._recorder = context.recorder(self._client, "cidrAllocator")
        self._nodes = context.informers.informer(NODES)
        # One worker: two nodes decided on at once could get the same part.
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._nodes, _without_cidr)
        self._nodes.add_handler(self._node_gone)
        self._waiting: set[ObjectKey] = set()

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        node = self._nodes.get(*key)
        if node is None or node["spec"].get("podCIDR"):
            self._waiting.discard(key)
            return DONE
        taken = [cidr for other in self._nodes.list() for cidr in other["spec"].get("podCIDRs") or ()]
        cidr = plan_cidr(self._config.cluster_cidr, self._config.node_cidr_mask_size, taken)
        if cidr is None:
            # Comes back when a node goes.
            self._waiting.add(key)
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self._recorder.event(node, "Normal", "CIDRNotAvailable", message)
            return DONE
        patch = {
            "metadata": {"uid": node["metadata"]["uid"], "resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        }
        await observe(self._nodes, await self._client.patch(NODES, key.name, patch))
        return DONE

    def _node_gone(self, kind: str, node: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            for key in self._waiting:
                self._controller.enqueue(key)


def _without_cidr(node: Obj) -> Iterable[ObjectKey]:
    return () if node["spec"].get("podCIDR") else own_key(node)
