"""Many hollow nodes in one process, of the shapes that somebody described: each lives and fails by itself.

Used by the server process of ``sampan up --simulate`` and by ``sampan.testing``. Each node has an address of its own
(``hollow_addresses``); their node APIs share one socket (``hollow_api``). One event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sampan.api.clock import Clock, Random
from sampan.api.errors import AlreadyExists, ApiError
from sampan.api.nodes.usage import Looks
from sampan.api.resources import NODES
from sampan.client.client import Client
from sampan.node.hollow import FAULTS, Fault, HollowNode, shaped_runtime
from sampan.node.hollow_addresses import addresses, number_of
from sampan.node.shapes import Shape, Shapes
from sampan.node.simulated import SimulatedRuntime

log = logging.getLogger(__name__)

#: every simulated node has it
LABEL: Final = "sampan.io/simulated"
_RESTART_SECONDS: Final = (0.5, 2.0, 10.0, 30.0)
#: Labels below these domains that a node may give itself; the others are given to it (NodeRestriction).
_RESTRICTED: Final = ("kubernetes.io", "k8s.io")
_OWN: Final = ("topology.kubernetes.io", "node.kubernetes.io", "kubelet.kubernetes.io")


class HollowNodes:
    """``runtimes`` steers what containers do, by node name: a node that starts anew adopts what its runtime has."""

    def __init__(
        self,
        shapes: Shapes,
        client_for: Callable[[str], Client],
        clock: Clock,
        random: Random,
        *,
        admin: Callable[[], Client],
        port: int = 10250,
    ) -> None:
        """``client_for`` gives a node's own client by its name, ``admin`` one that may label nodes; ``port`` is where
        their APIs answer."""
        self._client_for, self._clock, self._random, self._admin = client_for, clock, random, admin
        self.shapes: Mapping[str, Shape] = dict(shapes.each())
        self.runtimes: dict[str, SimulatedRuntime] = {}
        for name, shape in self.shapes.items():
            runtime = self.runtimes[name] = shaped_runtime(name, shape, clock, random)
            runtime.behaviours.update(shapes.images)
        self.port = port
        self._names = tuple(self.shapes)
        self.addresses = dict(zip(self.shapes, addresses(len(self.shapes)), strict=True))
        self._running: dict[str, HollowNode] = {}
        #: told of every container that ended (followed logs end by it)
        self.on_exit: Callable[[str, str], None] = lambda node, container_id: None

    def __iter__(self) -> Iterator[HollowNode]:
        """Those that live just now."""
        return iter(self._running.values())

    def get(self, name: str) -> HollowNode | None:
        return self._running.get(name)

    def looks(self, name: str) -> Looks:
        """What a node uses; nothing, if it does not live just now."""
        node = self._running.get(name)
        return node.looks() if node is not None else Looks()

    def at(self, address: str) -> HollowNode | None:
        """The one with this address, or with the loopback address that stands for it."""
        number = number_of(address)
        return self._running.get(self._names[number]) if 0 <= number < len(self._names) else None

    def ail(self, name: str, fault: Fault | None) -> None:
        """Raises KeyError, ValueError for what is no fault."""
        if fault is not None and fault not in FAULTS:
            raise ValueError(f"{fault} is no fault; there are {', '.join(FAULTS)}")
        self._running[name].ail(fault)

    async def run(self) -> None:
        """All of them, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in self.shapes:
                    # Of a context of its own: what a node keeps running is no component of this process.
                    group.create_task(self.run_node(name), name=f"simulated {name}", context=contextvars.Context())
        finally:
            await self.close()

    async def close(self) -> None:
        """After the last node."""
        for runtime in self.runtimes.values():
            await runtime.close()

    async def run_node(self, name: str) -> None:
        """One node, until cancelled; after a fault of ours it starts anew, alone."""
        failures = 0
        while True:
            try:
                await self._admit(name, self.shapes[name])
                await self._live(name)
            except* Exception as error:
                log.exception("simulated node %s failed", name, exc_info=error)
            await asyncio.sleep(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
            failures += 1

    async def _live(self, name: str) -> None:
        labels = self.shapes[name].labels
        node = HollowNode(
            name,
            self._client_for(name),
            self._clock,
            self._random,
            runtime=self.runtimes[name],
            address=self.addresses[name],
            port=self.port,
            labels={LABEL: "true", **{key: value for key, value in labels.items() if not _is_restricted(key)}},
            shape=self.shapes[name],
        )
        node.on_exit = lambda container_id: self.on_exit(name, container_id)
        self._running[name] = node
        try:
            await node.run(asyncio.Event())
        finally:
            del self._running[name]

    async def _admit(self, name: str, shape: Shape) -> None:
        """A node may not give itself every label: one with others is made for it, as an administrator would."""
        if not any(map(_is_restricted, shape.labels)):
            return
        labels = {**shape.labels, LABEL: "true"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        if shape.taints:
            node["spec"] = {"taints": [dict(taint) for taint in shape.taints]}
        try:
            await self._admin().create(NODES, node)
        except AlreadyExists:
            await self._admin().patch(NODES, name, {"metadata": {"labels": labels}})
        except ApiError as error:
            log.warning("simulated node %s cannot be made: %s", name, error)


def _is_restricted(label: str) -> bool:
    domain, slash, _ = label.rpartition("/")
    below = any(domain == each or domain.endswith(f".{each}") for each in _RESTRICTED)
    return bool(slash) and below and not any(domain == each or domain.endswith(f".{each}") for each in _OWN)
