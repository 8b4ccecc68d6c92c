"""Keeps the kernel's routes as the Nodes of the cluster have it. One instance a node, in the node process.

Of each Node only what the plan is made of is kept: a node of a large cluster holds a few hundred bytes for each of the
others. A change is a run of ``ip`` or two, with what differs; now and then a look whether somebody has removed a route.
Where nodes share no network the routes lead into tunnels (``overlay``), which are laid first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from sampan.api.clock import Random, SystemRandom
from sampan.api.errors import ApiError
from sampan.api.reading import part, text
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.reflector import Reflector
from sampan.network.routes.ip import RouteError
from sampan.network.routes.overlay import Overlay
from sampan.network.routes.plan import (
    WIREGUARD_ANNOTATION,
    Backend,
    Link,
    Network,
    Peer,
    Route,
    RoutePlan,
    plan_routes,
    read_peer,
)
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: Changes within this time become one; and between two looks at the table when nothing changes.
CALM_SECONDS, LOOK_SECONDS = 0.05, 30.0
RETRY_SECONDS = 1.0


class Table(Protocol):
    """Routes and networks of this machine. All raise RouteError."""

    async def links(self) -> tuple[Link, ...]: ...
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

    def get(self, name: str) -> Peer | None:
        return self._known.get(name)

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


@dataclass(frozen=True, slots=True)
class Told:
    """By which key and port this node's tunnels are reached. ``client`` may write the Node."""

    client: Client
    key: str
    port: int
    annotation: str


class PodRoutes:
    def __init__(
        self,
        client: Client,
        node_name: str,
        cluster: Sequence[Network],
        table: Table,
        random: Random | None = None,
        *,
        backend: Backend = "host-gw",
        overlay: Overlay | None = None,
        told: Told | None = None,
        recorder: EventRecorder | None = None,
    ) -> None:
        """``cluster``: the ranges of all pods. ``overlay``: who lays the tunnels of that back end. ``told``: what the
        others are to read on this node's own Node. ``recorder``: of Events about it."""
        self._node_name, self._cluster, self._table = node_name, tuple(cluster), table
        self._backend, self._overlay, self._told, self._recorder = backend, overlay, told, recorder
        self._peers = Peers()
        self._reflector = Reflector(client, NODES, self._peers, random or SystemRandom())
        #: nodes to which no route leads, as was said last
        self._far: tuple[str, ...] = ()
        #: what is in the table, as far as is known without a look
        self._present: frozenset[Route] | None = None

    async def run(self) -> None:
        """Until cancelled. Routes stay: pods talk on while the agent is replaced."""
        async with asyncio.TaskGroup() as group:
            tasks.spawn_eternal(group, self._reflector.run(), "nodes")
            tasks.spawn_eternal(group, self._keep(), "routes")
            if self._recorder is not None:
                tasks.spawn_eternal(group, self._recorder.run(), "events")

    async def _keep(self) -> None:
        pause, said = LOOK_SECONDS, ""
        while True:
            look = False
            try:
                async with asyncio.timeout(pause):
                    await self._peers.changed.wait()
            except TimeoutError:
                look = True  # whether they are still there
            self._peers.changed.clear()
            if not self._peers.told:
                continue
            try:
                await self._publish()
                await self.sync(look=look)
            except (RouteError, ApiError) as error:
                # A node may say what it likes of its addresses: a route that cannot be had is tried less and less
                # often, and told once. News of nodes are acted on at once all the same.
                if str(error) != said:
                    said, pause = str(error), RETRY_SECONDS / 2
                    log.warning("pods of other nodes may be out of reach: %s", error)
                    if isinstance(error, RouteError):
                        self._say(f"pods of other nodes may be out of reach: {error}")
                pause = min(pause * 2, LOOK_SECONDS)
            else:
                pause, said = LOOK_SECONDS, ""
            await asyncio.sleep(CALM_SECONDS)

    async def _publish(self) -> None:
        """The Node may be another one than before: what it says is looked at each time. Raises ApiError."""
        told, own = self._told, self._peers.get(self._node_name)
        if told is not None and own is not None and (own.key, own.port) != (told.key, told.port):
            patch = {"metadata": {"annotations": {WIREGUARD_ANNOTATION: told.annotation}}}
            await told.client.patch(NODES, self._node_name, patch)

    async def sync(self, *, look: bool = True) -> None:
        """``look``: what was laid before may be gone. Raises RouteError."""
        links = await self._table.links()
        plan = plan_routes(self._peers.known(), self._node_name, self._cluster, links, self._backend)
        self._tell(plan.far)
        routes, failed = plan.routes, None
        if self._overlay is not None:
            try:
                await self._lay(self._overlay, plan, links, look=look)
            except RouteError as error:  # what can be had is had all the same
                failed = error
            if plan.own and plan.local:
                routes |= self._overlay.routes(plan.tunnels)
        try:
            present = await self._table.present() if look or self._present is None else self._present
            self._present = None  # until it is known to be as wanted
            await self._table.change(routes - present, present - routes)
        except RouteError as error:
            failed = failed or error
        if failed is not None:
            raise failed
        self._present = routes

    async def _lay(self, overlay: Overlay, plan: RoutePlan, links: Sequence[Link], *, look: bool) -> None:
        """The tunnels, or none. Raises RouteError."""
        if plan.tunnels and plan.own and plan.local:
            await overlay.lay(plan, links, look=look or self._present is None)
        elif self._present is None or any(route.device for route in self._present):
            await overlay.remove()

    def _tell(self, far: tuple[str, ...]) -> None:
        if far == self._far:
            return
        self._far = far
        if far:
            why = {
                "host-gw": "not in a network of this node (--pod-network-backend vxlan has tunnels)",
                "wireguard": "no key of theirs is known yet",
            }.get(self._backend, "no address of theirs is known")
            text = f"no route leads to the pods of {', '.join(far[:5])}: {why}"
            log.warning("%s", text)
            if self._backend != "wireguard":  # whose nodes have none in their first moments
                self._say(text)

    def _say(self, text: str) -> None:
        """By an Event of the node, which is named as the kubelet names it: by its name in place of the uid."""
        if self._recorder is not None:
            node = {"kind": "Node", "apiVersion": "v1", "name": self._node_name, "uid": self._node_name}
            self._recorder.event(node, "Warning", "PodsOutOfReach", text)
