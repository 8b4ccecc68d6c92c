"""Gives each node its own pod addresses, a part of the cluster's range, of each family (upstream ``nodeipam``,
RangeAllocator)."""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterable

from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context

NAME = "node-ipam-controller"


class Parts:
    """The parts of the cluster's range, one a node: which are taken, and the lowest that is not. No I/O.

    Invariant: every free part below ``_next`` is in ``_free``. What it costs does not grow with the nodes."""

    def __init__(self, cluster_cidr: str, mask_size: int) -> None:
        self._network = ipaddress.ip_network(cluster_cidr)
        self._mask_size = mask_size
        self._shift = self._network.max_prefixlen - mask_size
        self._count = 1 << max(mask_size - self._network.prefixlen, 0)
        #: by part: how many ranges that nodes have lie in it
        self._taken: dict[int, int] = {}
        self._next = 0
        self._free: list[int] = []

    def lowest_free(self) -> str | None:
        """None when all are taken."""
        while self._free and self._free[0] in self._taken:
            heapq.heappop(self._free)
        if self._free:
            return self._text(self._free[0])
        while self._next in self._taken:
            self._next += 1
        return self._text(self._next) if self._next < self._count else None

    def occupy(self, cidr: str) -> None:
        for part in self._within(cidr):
            self._taken[part] = self._taken.get(part, 0) + 1

    def release(self, cidr: str) -> None:
        for part in self._within(cidr):
            self._taken[part] -= 1
            if not self._taken[part]:
                del self._taken[part]
                if part < self._next:
                    heapq.heappush(self._free, part)

    def _within(self, cidr: str) -> range:
        """The parts that a node's range lies in: one, but for a range that somebody else chose."""
        try:
            found = ipaddress.ip_network(cidr)
        except ValueError:
            return range(0)
        if found.version != self._network.version:
            return range(0)
        base = int(self._network.network_address)
        first = (int(found.network_address) - base) >> self._shift
        last = (int(found.broadcast_address) - base) >> self._shift
        return range(max(first, 0), min(last, self._count - 1) + 1)

    def _text(self, part: int) -> str:
        address = type(self._network.network_address)(int(self._network.network_address) + (part << self._shift))
        return f"{address}/{self._mask_size}"


class NodeIpamController:
    def __init__(self, context: Context) -> None:
        self._config = context.config
        # Upstream's allocator acts as the node controller; there is no role of its own.
        self._client = context.client_for("node-controller")
        self._recorder = context.recorder(self._client, "cidrAllocator")
        self._nodes = context.informers.informer(NODES)
        # One worker: two nodes decided on at once could get the same part.
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        # One a family, the cluster's first family first.
        self._parts = [
            Parts(
                cidr.strip(), self._config.node_cidr_mask_size_ipv6 if ":" in cidr else self._config.node_cidr_mask_size
            )
            for cidr in self._config.cluster_cidr.split(",")
        ]
        # First of all: before a node without a range is looked at, those of the others are known.
        self._nodes.add_handler(self._note_ranges)
        self._controller.watch(self._nodes, _without_cidr)
        self._waiting: set[ObjectKey] = set()

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        node = self._nodes.get(*key)
        if node is None or node["spec"].get("podCIDR"):
            self._waiting.discard(key)
            return DONE
        given = [cidr for parts in self._parts if (cidr := parts.lowest_free()) is not None]
        if len(given) < len(self._parts):
            # Comes back when a node goes.
            self._waiting.add(key)
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self._recorder.event(node, "Normal", "CIDRNotAvailable", message)
            return DONE
        # The node writes its status meanwhile: nothing but its range is at stake, and that can be set only once.
        patch = {
            "metadata": {"uid": node["metadata"]["uid"]},
            "spec": {"podCIDR": given[0], "podCIDRs": given},
        }
        await observe(self._nodes, await self._client.patch(NODES, key.name, patch))
        return DONE

    def _note_ranges(self, kind: str, node: Obj, previous: Obj | None) -> None:
        """Runs before a write of ours returns, so that no part is given twice."""
        before = _ranges(previous) if previous is not None else ()
        now = _ranges(node) if kind != "DELETED" else ()
        if before == now:
            return
        for parts in self._parts:
            for cidr in now:
                parts.occupy(cidr)
            for cidr in before:
                parts.release(cidr)
        if before:
            for key in self._waiting:
                self._controller.enqueue(key)


def _ranges(node: Obj) -> tuple[str, ...]:
    return tuple(node["spec"].get("podCIDRs") or ())


def _without_cidr(node: Obj) -> Iterable[ObjectKey]:
    return () if node["spec"].get("podCIDR") else own_key(node)
