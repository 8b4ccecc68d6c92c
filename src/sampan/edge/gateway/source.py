"""The Gateway API as a source of the edge: listeners out of objects, statuses back to them.

What the data plane does not take is told with the statuses, while it does not: nothing of it is remembered here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sampan.api.clock import Clock, format_time
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.nodes.status import is_ready
from sampan.api.objects import copy_of
from sampan.api.reading import part, parts, text, text_map
from sampan.api.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.edge.config import EdgeConfig
from sampan.edge.gateway import names
from sampan.edge.gateway.backends import endpoints_of
from sampan.edge.gateway.definitions.bundle import VERSION_KEY
from sampan.edge.gateway.following import Following
from sampan.edge.gateway.memory import Memory
from sampan.edge.gateway.observed import Key, Observed, Site
from sampan.edge.gateway.plan import Plan, plan
from sampan.edge.gateway.statuses import StatusWrite
from sampan.edge.model import Endpoint, Listener
from sampan.edge.secrets import Secrets
from sampan.edge.source import Board, Served
from sampan.keeping import Keeper

log = logging.getLogger(__name__)

#: between two looks at the nodes' addresses and the definitions' releases
_LOOK_SECONDS: Final = 60.0
#: so long what other sources ask for waits for this one
_PATIENCE_SECONDS: Final = 15.0
#: how it is said that a port is another program's, or another source's by another protocol (``edge.merging``)
_PORT_TAKEN: Final = re.compile(r"port (\d+) (?:of the node is taken by another program|is one of https? already\b.*)")
#: statuses that are written at a time
_WRITES: Final = 8


class GatewaySource:
    """``taken``: ports of the machine that are the cluster's own."""

    name = "gateway"

    def __init__(
        self,
        client: Client,
        shared: InformerFactory,
        config: EdgeConfig,
        clock: Clock,
        taken: frozenset[int] = frozenset(),
    ) -> None:
        self._client = client
        self._shared = shared
        self._clock = clock
        moved = {80: config.http_port, 443: config.https_port}
        self._site = Site(
            addresses=(config.address,) if config.address else (),
            own=(config.address,) if config.address else (),
            ports={asked: served for asked, served in moved.items() if asked != served},
            taken=taken,
        )
        self._bundles: Mapping[str, str] = {}
        #: Of several nodes one writes statuses: what is true of one, such as a missing program, is not of another.
        self._speaks = True
        self._following: Following | None = None
        self._observed = Observed()
        self._plan: Plan | None = None
        self._planning = self._unwritten = False
        self._board: Board | None = None
        self._memory = Memory()
        self._writing = asyncio.Semaphore(_WRITES)

    async def run(self, board: Board) -> None:
        own = InformerFactory(self._client)
        self._board = board

        def changed(*_: str) -> None:
            board.changed()

        secrets = Secrets(self._client, changed)
        config_maps = Secrets(self._client, changed, CONFIG_MAPS)
        following = Following(
            own, self._shared, secrets, config_maps, changed, lambda service: self._moved(board, service)
        )
        async with Keeper() as keeper:
            keeper.keep("informers", own.run)
            keeper.keep("secrets", secrets.run)
            keeper.keep("configmaps", config_maps.run)
            keeper.keep("services", following.services.run)
            await self._look_around()
            following.begin()
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await following.synced()
            except TimeoutError:
                log.warning("the Gateway API cannot be followed yet; what others ask for is served meanwhile")
                board.changed(self.name)
                await following.synced()
            self._following = following
            board.changed(self.name)
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                unwritten, self._unwritten = self._unwritten, False
                if await self._look_around() or unwritten:
                    board.changed()

    async def listeners(self) -> Sequence[Listener]:
        if self._following is None:
            return ()
        self._planning = True
        try:
            observed = await self._following.observed(self._site, self._bundles)
            self._plan = await self._planned(observed)
            self._observed = observed
        finally:
            self._planning = False
        return self._plan.plane.listeners

    async def served(self, served: Served) -> None:
        if self._plan is None or self._following is None or not self._speaks:
            return
        planned = self._plan
        refused, ports = _refused(served)
        if served.missing or refused or ports:
            site = _without_ports(dataclasses.replace(self._observed.site, trouble=served.missing), ports)
            planned = await self._planned(dataclasses.replace(self._observed, site=site, refused=refused))
        await asyncio.gather(*map(self._write, planned.writes))

    async def _planned(self, observed: Observed) -> Plan:
        return await asyncio.to_thread(plan, observed, format_time(self._clock.now()), self._memory)

    def _moved(self, board: Board, service: Key) -> None:
        if self._planning:
            board.changed()  # what is planned may lead there for the first time, or was made of the old ones
        board.moved(self._endpoints(service))

    def _endpoints(self, service: Key) -> dict[str, tuple[Endpoint, ...]]:
        """Of the back ends that lead to a Service, as of now."""
        if self._plan is None or self._following is None:
            return {}
        found: dict[str, tuple[Endpoint, ...]] = {}
        slices = self._following.slices(service)
        for name, port in self._plan.backends.get(service, {}).items():
            found[name] = endpoints_of(self._observed.services[service], port, slices)
        return found

    async def _write(self, write: StatusWrite) -> None:
        resource = names.RESOURCES[write.obj["kind"]]
        changed = copy_of(write.obj)
        changed["status"] = write.status
        async with self._writing:
            try:
                answer = await self._client.update_status(resource, changed)
            except NotFound:
                return
            except Conflict:
                if self._board is not None:  # what changed may be no news to a plan, such as a label
                    self._board.changed()
                return
            except ApiError as error:
                self._unwritten = True
                meta = part(write.obj, "metadata")
                place = f"{text(meta, 'namespace')}/{text(meta, 'name')}"
                log.warning("status of %s %s: %s", resource.kind, place, error.message)
                return
        if self._following is not None:
            self._following.wrote(resource, answer)

    async def _look_around(self) -> bool:
        """Whether addresses of nodes, or releases of definitions, are others than they were, or who speaks."""
        before = self._site, self._bundles, self._speaks
        try:
            nodes = (await self._client.list(NODES)).get("items") or ()
            self._bundles = await self._releases()
        except ApiError as error:
            log.warning("the Gateway API's surroundings cannot be seen: %s", error.message)
            return False
        found = sorted({each for node in nodes for each in _addresses(node)}, key=_order)
        ready = sorted((each for node in nodes if is_ready(node) for each in _addresses(node)), key=_order)
        self._site = dataclasses.replace(self._site, addresses=tuple(found) or self._site.own)
        self._speaks = not ready or ready[0] in self._site.own or not set(self._site.own) & set(found)
        return before != (self._site, self._bundles, self._speaks)

    async def _releases(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, resource in names.RESOURCES.items():
            try:
                obj = await self._client.get(CUSTOM_RESOURCE_DEFINITIONS, f"{resource.plural}.{names.GROUP}")
            except NotFound:
                continue
            found[kind] = text_map(part(obj, "metadata"), "annotations").get(VERSION_KEY, "")
        return found


def _addresses(node: Obj) -> Iterator[str]:
    for each in parts(part(node, "status"), "addresses"):
        if text(each, "type") in ("InternalIP", "ExternalIP"):
            yield text(each, "address")


def _order(address: str) -> tuple[bool, str]:
    """IPv4 first."""
    return ":" in address, address


def _refused(served: Served) -> tuple[dict[tuple[str, str, str], str], frozenset[int]]:
    """What the data plane does not take of routes; ports that are somebody else's."""
    refused: dict[tuple[str, str, str], str] = {}
    ports: set[int] = set()
    for owner, said in served.problems.items():
        taken = {int(found[1]) for each in said if (found := _PORT_TAKEN.fullmatch(each))}
        ports |= taken
        others = [each for each in said if not _PORT_TAKEN.fullmatch(each)]
        if others and owner.kind in names.ROUTE_KINDS:
            refused[owner.kind, owner.namespace, owner.name] = "; ".join(others)
    return refused, frozenset(ports)


def _without_ports(site: Site, ports: frozenset[int]) -> Site:
    """``ports``: of the machine, as they are served."""
    asked = {each for each, served in site.ports.items() if served in ports}
    left = {each: served for each, served in site.ports.items() if each not in asked}
    return dataclasses.replace(site, ports=left, taken=site.taken | ports | asked)
