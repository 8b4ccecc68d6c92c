"""The loop of the service proxy: changes of Services, EndpointSlices and Pods become plans for a back end.

One instance a node, composed by ``sampan.cluster`` into the node process. Handlers only note which Service changed;
``run`` plans those anew and has the back end apply them: the first change at once, those that follow together, after
a rest in proportion to the work and of at most ``min_sync_seconds``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sampan.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.keys import key_of
from sampan.network.proxy import model
from sampan.network.proxy.backend import Backend, BackendError
from sampan.network.proxy.config import ProxyConfig
from sampan.network.proxy.conntrack import Conntrack, FlowTable, StaleFlow, plan_stale
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.health import Health, HealthServers
from sampan.network.proxy.plan import Flow, ServiceKey, ServicePlan, flows_of, plan_service

log = logging.getLogger(__name__)

_BY_SERVICE = "network-proxy-service"
#: So many Services are planned before others on the event loop have a turn.
_PLANS_AT_ONCE = 20
#: A Service with more endpoints, counted for each of its ports, is planned by a thread: it takes milliseconds.
_MANY_ENDPOINTS = 100
#: The back end rests so many times as long as it worked: changes that cost little need not wait for company.
_REST = 10
_ANY = {4: "0.0.0.0", 6: "::"}


class ServiceProxy:
    """Invariant: ``_plans`` is what the back end was told last, of Services that are neither in ``_dirty`` nor being
    planned."""

    def __init__(
        self,
        informers: InformerFactory,
        config: ProxyConfig,
        backend: Backend,
        *,
        conntrack: FlowTable | None = None,
    ) -> None:
        self.config = config
        self._backend = backend
        self._conntrack: FlowTable = conntrack or Conntrack()
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(ENDPOINT_SLICES)
        self._pods = informers.informer(PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._nodes = informers.informer(NODES, field_selector=f"metadata.name={config.node_name}")
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._place = Place(config.node_name)
        self._reserved = config.own_ranges
        self._plans: dict[ServiceKey, ServicePlan] = {}
        self._dirty: set[ServiceKey] = set()
        self._host_ports_changed = True
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        #: Flows to forget once what replaces their endpoints is in place.
        self._own_dns = own_dns(config)
        self._stale = [StaleFlow(flow) for flow in self._own_dns]
        self._health_ports: dict[ServiceKey, int] = {}
        self._health = HealthServers(config.health_address or [_ANY[each.version] for each in config.families])

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Until cancelled. ``started`` is set when all of it was applied for the first time."""
        removers = self._subscribe()
        try:
            for informer in (self._services, self._slices, self._pods, self._nodes):
                await informer.synced()
            await self._loop(started or asyncio.Event())
        finally:
            for remove in removers:
                remove()
            await self._health.close()
            await self._backend.close()

    async def settled(self) -> None:
        """Returns once everything heard of so far is applied."""
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
        self._mark(ServiceKey(*key_of(obj)))

    def _slice_changed(self, _: ChangeType, obj: Obj, previous: Obj | None) -> None:
        for version in (obj, previous):
            if version is not None and (key := _service_key_of(version)) is not None:
                self._mark(key)

    def _pod_changed(self, _: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if any(_has_host_ports(version) for version in (obj, previous) if version is not None):
            self._host_ports_changed = True
            self._note()

    def _node_changed(self, kind: ChangeType, obj: Obj, _: Obj | None) -> None:
        zone = "" if kind == "DELETED" else (obj["metadata"].get("labels") or {}).get(model.ZONE_LABEL, "")
        if zone != self._place.zone:
            self._place = Place(self.config.node_name, zone)
            self._dirty.update(self._plans)
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
        check_at, resync_at = loop.time() + config.check_seconds, loop.time() + config.resync_seconds
        self._changed.set()
        while True:
            await self._wait_change(check_at)
            # However much changes meanwhile: changes that mean nothing to the table do not look at it.
            if (now := loop.time()) >= check_at:
                await self._backend.repair(whole=now >= resync_at)
                check_at = loop.time() + config.check_seconds
                if now >= resync_at:
                    resync_at = loop.time() + config.resync_seconds
            self._changed.clear()
            began = loop.time()
            if await self._sync():
                started.set()
                if not self._changed.is_set():
                    self._idle.set()
                await asyncio.sleep(min(config.min_sync_seconds, _REST * (loop.time() - began)))
            else:
                self._changed.set()
                await asyncio.sleep(config.retry_seconds)

    async def _wait_change(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _sync(self) -> bool:
        """Plans what changed and has it applied. False: it could not be, and is to be tried again."""
        await self._plan_dirty()
        try:
            await self._backend.apply()
        except BackendError as error:
            log.error("%s", error)
            return False
        stale, self._stale = self._stale, []
        await self._conntrack.forget(stale)
        await self._health.update(self._wanted_health())
        return True

    async def _plan_dirty(self) -> None:
        """Plans changed Services anew, and remembers the flows that lose their endpoint by it."""
        before: dict[Flow, frozenset[str]] = {}
        after: dict[Flow, frozenset[str]] = {}
        # What changes meanwhile is of the next round: one that never rests keeps no other waiting.
        dirty, self._dirty = self._dirty, set()
        for count, key in enumerate(dirty, 1):
            new = await self._planned(key, self._plans.get(key))
            old = self._plans.pop(key, None)
            if old is not None:
                before.update(flows_of(old))
                self._health_ports.pop(key, None)
            if new is not None:
                self._plans[key] = new
                if new.refused and (old is None or new.refused != old.refused):
                    log.warning(
                        "Service %s/%s: external addresses %s are the cluster's own, they are not served",
                        *key, ", ".join(new.refused),
                    )  # fmt: skip
                after.update(flows_of(new))
                if new.health_port:
                    self._health_ports[key] = new.health_port
            if new is not old:
                self._backend.plan(key, new)
            if count % _PLANS_AT_ONCE == 0:
                await asyncio.sleep(0)
        if self._host_ports_changed:
            self._host_ports_changed = False
            self._backend.plan_host_ports(model.host_ports(self._pods.list()))
        for flow in self._own_dns:
            before.pop(flow, None)
            after.pop(flow, None)
        self._stale += plan_stale(before, after)

    async def _planned(self, key: ServiceKey, old: ServicePlan | None) -> ServicePlan | None:
        """``old`` itself where nothing differs."""
        service = self._services.get(*key)
        if service is None:
            return None
        try:
            slices = self._slices.by_index(_BY_SERVICE, "/".join(key))
            if _weight(service, slices) <= _MANY_ENDPOINTS:
                return self._replanned(service, slices, self._place, old)
            while True:
                place = self._place
                plan = await asyncio.to_thread(self._replanned, service, slices, place, old)
                if place == self._place:
                    return plan
        except (AttributeError, KeyError, TypeError, ValueError):
            # One Service that is written as nobody foresaw must not keep the others from working.
            log.warning("Service %s/%s is not understood, it is not served", *key, exc_info=True)
            return None

    def _replanned(
        self, service: Obj, slices: Sequence[Obj], place: Place, old: ServicePlan | None
    ) -> ServicePlan | None:
        plan = plan_service(service, slices, place, self._reserved)
        return old if plan == old else plan

    def _wanted_health(self) -> dict[int, Health]:
        return {
            port: Health(*key, self._plans[key].local_endpoints) for key, port in sorted(self._health_ports.items())
        }


def _weight(service: Obj, slices: Sequence[Obj]) -> int:
    """How many endpoints are read. Raises AttributeError or TypeError for what is written as nobody foresaw."""
    ports = len(service.get("spec", {}).get("ports") or ())
    return ports * sum(len(each.get("endpoints") or ()) for each in slices)


def own_dns(config: ProxyConfig) -> tuple[Flow, ...]:
    """Goes to the node's own server, whatever endpoints it has or lacks."""
    return tuple(Flow(each.dns_ip, 53, "udp", each.version) for each in config.families if each.dns_ip)


def _has_host_ports(pod: Obj) -> bool:
    try:
        return next(model.pod_host_ports(pod), None) is not None
    except (AttributeError, KeyError, TypeError):
        return False


def _service_key_of(endpoint_slice: Obj) -> ServiceKey | None:
    meta = endpoint_slice["metadata"]
    name = (meta.get("labels") or {}).get(model.SERVICE_NAME_LABEL)
    return ServiceKey(meta["namespace"], name) if name else None


def _service_of(endpoint_slice: Obj) -> tuple[str, ...]:
    key = _service_key_of(endpoint_slice)
    return ("/".join(key),) if key else ()
