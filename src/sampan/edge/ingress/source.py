"""Ingress as a source of the edge: listeners out of objects, Events and addresses back to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sampan.api.clock import Clock
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.objects import copy_of
from sampan.api.reading import part, parts, text
from sampan.api.resources import INGRESSES, NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.events import EventKind, EventRecorder
from sampan.client.informer import InformerFactory
from sampan.client.keys import ObjectKey
from sampan.edge.config import EdgeConfig
from sampan.edge.ingress.following import Following
from sampan.edge.ingress.plan import Note, Ports, plan
from sampan.edge.ingress.reading import Read, owner_of
from sampan.edge.ingress.status import with_address
from sampan.edge.model import Listener, Owner
from sampan.edge.pace import Pace
from sampan.edge.secrets import Secrets
from sampan.edge.source import Board, Served
from sampan.keeping import Keeper

log = logging.getLogger(__name__)

#: What one Ingress was told is remembered, so that it is not told again.
_MOST_TOLD = 10_000


class IngressSource:
    name = "ingress"

    def __init__(self, client: Client, shared: InformerFactory, config: EdgeConfig, clock: Clock) -> None:
        self._client = client
        self._shared = shared
        self._config = config
        self._recorder = EventRecorder(client, "sampan-ingress", config.node_name, clock)
        self._following: Following | None = None
        self._reads: Sequence[Read] = ()
        self._notes: list[Note] = []
        self._told: dict[tuple[Owner, str], None] = {}

    async def run(self, board: Board) -> None:
        own = InformerFactory(self._client)
        secrets = Secrets(self._client, lambda namespace, name: following.secret_changed(namespace, name))
        following = Following(own, self._shared, secrets, lambda: board.changed(), board.moved, self._config.classes)
        async with Keeper() as keeper:
            keeper.keep("informers", own.run)
            keeper.keep("secrets", secrets.run)
            keeper.keep("events", self._recorder.run)
            keeper.keep("services", following.services.run)
            await following.begin()
            self._following = following
            board.changed(self.name)
            await asyncio.get_running_loop().create_future()

    async def listeners(self) -> Sequence[Listener]:
        if self._following is None:
            return ()
        self._reads = await self._following.reads()
        ports = Ports(self._config.http_port, self._config.https_port, self._config.listen)
        planned = await asyncio.to_thread(plan, self._reads, ports)
        self._notes = planned.notes
        return planned.listeners

    async def served(self, served: Served) -> None:
        for note in self._notes:
            self._tell(note.owner, note.kind == "Normal", note.reason, note.message)
        for owner, problems in served.problems.items():
            if owner.kind == "Ingress":
                for problem in problems:
                    self._tell(owner, False, "Refused", problem)
        if served.missing:
            for read in self._reads:
                self._tell(read.owner, False, "ProxyMissing", served.missing)
            return
        refused = set(served.problems)
        pace = Pace()
        for read in self._reads:
            if read.owner not in refused:
                await self._publish(read.owner)
            await pace.breathe()
        self._tell_of_classes()

    def _tell_of_classes(self) -> None:
        if self._following is None:
            return
        for ingress in self._following.all_ingresses():
            name = self._following.classes.nobodys(ingress)
            if name:
                text_ = (
                    f'there is no IngressClass "{name}"; nobody serves it, unless a controller goes by the name alone'
                )
                self._tell(owner_of(ingress), False, "NoSuchClass", text_)

    def _tell(self, owner: Owner, normal: bool, reason: str, message: str) -> None:
        key = (owner, message)
        if key in self._told:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[key] = None
        kind: EventKind = "Normal" if normal else "Warning"
        about: Obj = {
            "apiVersion": owner.api_version,
            "kind": owner.kind,
            "namespace": owner.namespace,
            "name": owner.name,
            "uid": owner.uid,
        }
        self._recorder.event(about, kind, reason, message)

    async def _publish(self, owner: Owner) -> None:
        """The address of this node, beside those of others."""
        if self._following is None:
            return
        ingress = self._following.ingress(ObjectKey(owner.namespace, owner.name))
        if ingress is None or ingress["metadata"].get("uid") != owner.uid:
            return
        ports = (self._config.http_port, self._config.https_port)
        points = parts(part(part(ingress, "status"), "loadBalancer"), "ingress")
        others = {text(point, "ip") for point in points} - {self._config.address, ""}
        try:
            known = await self._addresses() if others else set()
            wanted = with_address(points, self._config.address, ports, known)
            if wanted == list(points):
                return
            changed = copy_of(ingress)
            changed["status"] = {"loadBalancer": {"ingress": wanted}}
            await self._client.update_status(INGRESSES, changed)
        except (Conflict, NotFound):
            return  # its change comes, and with it another turn
        except ApiError as error:
            log.warning("ingress %s/%s: %s", owner.namespace, owner.name, error.message)
            return
        host = f"[{self._config.address}]" if ":" in self._config.address else self._config.address
        places = [f"http://{host}:{ports[0]}", f"https://{host}:{ports[1]}"]
        self._tell(owner, True, "Served", f"node {self._config.node_name} serves it at {' and '.join(places)}")

    async def _addresses(self) -> set[str]:
        """Of all nodes."""
        listed = await self._client.list(NODES)
        return {
            text(address, "address")
            for node in listed.get("items") or ()
            for address in parts(part(node, "status"), "addresses")
        }
