"""Keeps the kernel's routes as the Nodes of the cluster have it. One instance a node, in the node process.

Of each Node only what the plan is made of is kept: a node of a large cluster holds a few hundred bytes for each of the
others. A change is one run of ``ip``, with what differs; now and then a look whether somebody has removed a route.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from sampan.api.clock import Random, SystemRandom
from sampan.api.reading import part, text
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.reflector import Reflector
from sampan.network.routes.ip import RouteError
from sampan.network.routes.plan import Network, Peer, Route, plan_routes, read_peer

log = logging.getLogger(__name__)

#: Changes within this time become one; and between two looks at the table when nothing changes.
CALM_SECONDS, LOOK_SECONDS = 0.05, 30.0
RETRY_SECONDS = 1.0


class Table(Protocol):
    """Routes and networks of this machine. All raise RouteError."""

    async def links(self) -> tuple[Network, ...]: ...
    async def present(self) -> frozenset[Route]: ...
    async def change(self, add: Iterable[Route], remove: Iterable[Route]) -> None: ...


class Peers:
    """What is known of the nodes (a reflector's sink)."""

    def __init__(self) -> None:
        self._known: dict[str, Peer] = {}
        self.told = False
        self.changed = asyncio.Event()

    def known(self) -> Iterable[Peer]:
        return self._known.values()

    def replace(self, objects: Iterable[Obj], revision: int) -> None:
        self._known = {peer.name: peer for node in objects if (peer := read_peer(node))}
        self.told = True
        self.changed.set()

    def put(self, obj: Obj) -> None:
        peer, name = read_peer(obj), text(part(obj, "metadata"), "name")
        if self._known.get(name) != peer:
            self._known.pop(name, None)
            if peer is not None:
                self._known[name] = peer
            self.changed.set()

    def remove(self, obj: Obj) -> None:
        if self._known.pop(text(part(obj, "metadata"), "name"), None) is not None:
            self.changed.set()

    def advance(self, revision: int) -> None:
        pass


class PodRoutes:
    def __init__(
        self, client: Client, node_name: str, cluster: Sequence[Network], table: Table, random: Random | None = None
    ) -> None:
        """``cluster``: the ranges of all pods."""
        self._node_name, self._cluster, self._table = node_name, tuple(cluster), table
        self._peers = Peers()
        self._reflector = Reflector(client, NODES, self._peers, random or SystemRandom())
        #: nodes to which no route leads, as was said last
        self._far: tuple[str, ...] = ()

    async def run(self) -> None:
        """Until cancelled. Routes stay: pods talk on while the agent is replaced."""
        async with asyncio.TaskGroup() as group:
            tasks.spawn_eternal(group, self._reflector.run(), "nodes")
            tasks.spawn_eternal(group, self._keep(), "routes")

    async def _keep(self) -> None:
        pause, said = LOOK_SECONDS, ""
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._peers.changed.wait()
            except TimeoutError:
                pass  # a look whether they are still there
            self._peers.changed.clear()
            if not self._peers.told:
                continue
            try:
                await self.sync()
            except RouteError as error:
                # A node may say what it likes of its addresses: a route that cannot be had is tried less and less
                # often, and told once. News of nodes are acted on at once all the same.
                if str(error) != said:
                    said, pause = str(error), RETRY_SECONDS / 2
                    log.warning("pods of other nodes may be out of reach: %s", error)
                pause = min(pause * 2, LOOK_SECONDS)
            else:
                pause, said = LOOK_SECONDS, ""
            await asyncio.sleep(CALM_SECONDS)

    async def sync(self) -> None:
        """Raises RouteError."""
        plan = plan_routes(self._peers.known(), self._node_name, self._cluster, await self._table.links())
        if plan.far != self._far:
            self._far = plan.far
            if plan.far:
                log.warning("no route leads to the pods of %s: not in a network of this node", ", ".join(plan.far[:5]))
        present = await self._table.present()
        await self._table.change(plan.routes - present, present - plan.routes)
