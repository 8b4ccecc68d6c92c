"""The loop of the service proxy: changes of Services, EndpointSlices and Pods become transactions.

One instance a node, composed by ``sampan.cluster`` into the node process. Handlers only note which Service changed;
``run`` plans those anew and applies the difference: the first change at once, those that follow within
``min_sync_seconds`` together. Rules outlive the process: on its end the table stays, and a restart replaces it in one
transaction. Whoever removes the instance deletes the table (``sampan.network.cni.teardown``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from sampan.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.keys import key_of
from sampan.network.nft import Nft, NftCommand, NftError, Op
from sampan.network.proxy import base, model
from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.conntrack import Conntrack, FlowTable, StaleFlow, plan_stale
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.health import Health, HealthServers
from sampan.network.proxy.render import Flow, Fragment, assemble, plan_service
from sampan.network.proxy.table import Contents, plan_change, plan_full, plan_refresh

log = logging.getLogger(__name__)

ServiceKey: TypeAlias = tuple[str, str]

_BY_SERVICE = "network-proxy-service"


class ServiceProxy:
    """Invariant: ``_present`` is what the table holds, or None when that is not known."""

    def __init__(
        self,
        informers: InformerFactory,
        config: ProxyConfig,
        *,
        nft: Nft | None = None,
        conntrack: FlowTable | None = None,
    ) -> None:
        self.config = config
        self._nft: Nft = nft or NftCommand(config.table)
        self._conntrack: FlowTable = conntrack or Conntrack()
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(ENDPOINT_SLICES)
        self._pods = informers.informer(PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._nodes = informers.informer(NODES, field_selector=f"metadata.name={config.node_name}")
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._fixed = base.base_contents(config)
        self._place = Place(config.node_name)
        self._fragments: dict[ServiceKey, Fragment] = {}
        self._dirty: set[ServiceKey] = set()
        self._host_ports: tuple[model.HostPort, ...] = ()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._present: Contents | None = None
        #: UDP flows to forget once the table that replaces their endpoints is in place.
        self._stale = [StaleFlow(Flow(config.dns_ip, 53))] if config.dns_ip else []
        self._health = HealthServers(config.health_address)

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Until cancelled. ``started`` is set when the table is in the kernel for the first time."""
        removers = self._subscribe()
        try:
            for informer in (self._services, self._slices, self._pods, self._nodes):
                await informer.synced()
            await self._loop(started or asyncio.Event())
        finally:
            for remove in removers:
                remove()
            await self._health.close()

    async def settled(self) -> None:
        """Returns once everything heard of so far is in the table."""
        await self._idle.wait()

    # Hearing

    def _subscribe(self) -> list[Callable[[], None]]:
        return [
            self._services.add_handler(self._service_changed),
            self._slices.add_handler(self._slice_changed),
            self._pods.add_handler(self._pod_changed),
            self._nodes.add_handler(self._node_changed),
        ]

    def _service_changed(self, _: ChangeType, obj: Obj, __: Obj | None) -> None:
        self._mark(key_of(obj))

    def _slice_changed(self, _: ChangeType, obj: Obj, previous: Obj | None) -> None:
        for version in (obj, previous):
            if version is not None and (key := _service_key_of(version)) is not None:
                self._mark(key)

    def _pod_changed(self, _: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if any(next(model.pod_host_ports(version), None) for version in (obj, previous) if version is not None):
            self._note()

    def _node_changed(self, kind: ChangeType, obj: Obj, _: Obj | None) -> None:
        zone = "" if kind == "DELETED" else obj["metadata"].get("labels", {}).get(model.ZONE_LABEL, "")
        if zone != self._place.zone:
            self._place = Place(self.config.node_name, zone)
            self._dirty.update(self._fragments)
            self._note()

    def _mark(self, key: ServiceKey) -> None:
        self._dirty.add(key)
        self._note()

    def _note(self) -> None:
        self._changed.set()
        self._idle.clear()

    # Acting

    async def _loop(self, started: asyncio.Event) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        resync_at = loop.time() + config.resync_seconds
        self._changed.set()
        while True:
            if not await self._wait_change(config.check_seconds):
                await self._look(refresh=loop.time() >= resync_at)
                if loop.time() >= resync_at:
                    resync_at = loop.time() + config.resync_seconds
            self._changed.clear()
            if await self._sync():
                started.set()
                if not self._changed.is_set():
                    self._idle.set()
                await asyncio.sleep(config.min_sync_seconds)
            else:
                self._changed.set()
                await asyncio.sleep(config.retry_seconds)

    async def _wait_change(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _look(self, *, refresh: bool) -> None:
        """Makes good what others did to the table: a lost one is written anew, a present one now and then."""
        try:
            if not await self._nft.exists():
                log.warning("table %s is gone; writing it again", self.config.table)
                self._present = None
            elif refresh and self._present is not None:
                await self._nft.apply(plan_refresh(self._present))
        except NftError as error:
            log.warning("table %s could not be refreshed, replacing it: %s", self.config.table, error)
            self._present = None

    async def _sync(self) -> bool:
        """Plans what changed and applies it. False: nft refused; everything is written anew at the next try."""
        self._stale += self._plan_dirty()
        self._host_ports = model.host_ports(self._pods.list())
        wanted = assemble(self._fixed, self._fragments)
        wanted.merge(base.host_port_contents(self._host_ports))
        ops = self._plan(wanted)
        if ops and not await self._apply(ops, wanted):
            return False
        self._present = wanted
        stale, self._stale = self._stale, []
        await self._conntrack.forget(stale)
        await self._health.update(self._wanted_health())
        return True

    def _plan(self, wanted: Contents) -> list[Op]:
        return plan_full(wanted) if self._present is None else plan_change(self._present, wanted)

    async def _apply(self, ops: list[Op], wanted: Contents) -> bool:
        full = self._present is None
        try:
            await self._nft.apply(ops)
        except NftError as error:
            self._present = None
            if full:
                log.error("table %s could not be written: %s", self.config.table, error)
                return False
            # Somebody else changed the table: what we believed of it is worth nothing.
            log.warning("table %s is not as it was left, replacing it: %s", self.config.table, error)
            return await self._apply(plan_full(wanted), wanted)
        except asyncio.CancelledError:
            self._present = None
            raise
        return True

    def _plan_dirty(self) -> list[StaleFlow]:
        """Renews the fragments of changed Services; returns the UDP flows that lose their endpoint by it."""
        before: dict[Flow, frozenset[str]] = {}
        after: dict[Flow, frozenset[str]] = {}
        for key in self._dirty:
            old = self._fragments.pop(key, None)
            if old is not None:
                before.update(old.udp)
            service = self._services.get(*key)
            if service is not None:
                slices = self._slices.by_index(_BY_SERVICE, "/".join(key))
                try:
                    fragment = plan_service(service, slices, self.config, self._place)
                except (KeyError, TypeError, ValueError):
                    # One Service that is written as nobody foresaw must not keep the others from working.
                    log.exception("Service %s/%s cannot be served", *key)
                    continue
                self._fragments[key] = fragment
                after.update(fragment.udp)
        self._dirty.clear()
        return plan_stale(before, after)

    def _wanted_health(self) -> dict[int, Health]:
        return {
            fragment.health_port: Health(*key, fragment.local_endpoints)
            for key, fragment in self._fragments.items()
            if fragment.health_port
        }


def _service_key_of(endpoint_slice: Obj) -> ServiceKey | None:
    meta = endpoint_slice["metadata"]
    name = meta.get("labels", {}).get(model.SERVICE_NAME_LABEL)
    return (meta["namespace"], name) if name else None


def _service_of(endpoint_slice: Obj) -> tuple[str, ...]:
    key = _service_key_of(endpoint_slice)
    return ("/".join(key),) if key else ()
