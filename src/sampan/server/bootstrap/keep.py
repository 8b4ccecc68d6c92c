"""Keeps what a cluster cannot be without: makes it again when somebody deleted it, for as long as the server runs.

What upstream's API server looks after, and how often: the ``kubernetes`` Service with its endpoints and range every
ten seconds, with the servers that live where several share a store (``masterleases``); system namespaces, flow
control, the CA of clients and the day from which tokens of Secrets are watched every minute. Default policy and
priority classes are looked at when a server starts and not again, as upstream. A fault costs a pass, never the server.
A pass that is due is left out while nothing of what it looks at has changed since the last one: an idle server that
has its store alone has nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, TypeAlias

from sampan.api.clock import Clock
from sampan.api.errors import ApiError
from sampan.api.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    FLOW_SCHEMAS,
    NAMESPACES,
    PRIORITY_LEVELS,
    SERVICE_CIDRS,
    SERVICES,
    Resource,
)
from sampan.api.transport import Call, Transport
from sampan.api.types import Obj
from sampan.server.bootstrap import flow, objects
from sampan.server.bootstrap.ensure import ensure_each
from sampan.server.bootstrap.masterleases import MasterLeases
from sampan.server.bootstrap.objects import BootstrapConfig
from sampan.server.reader import ObjectReader
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

SERVICE_INTERVAL_SECONDS = 10.0
INTERVAL_SECONDS = 60.0
#: after a lease that could not be renewed
RETRY_SECONDS = 2.0
#: what the end of a server waits for a store that does not answer
LEAVE_SECONDS = 2.0
_HAIR_SECONDS = 0.001
_APPLY = "application/apply-patch+yaml"
#: what each of the two passes looks at: a resource, and the one object of it, by namespace and name; None: all
_Looked: TypeAlias = tuple[Resource, tuple[str, str] | None]
_OF_SERVICE: Final[Sequence[_Looked]] = (
    (NAMESPACES, ("", "default")),
    (SERVICES, ("default", "kubernetes")),
    (SERVICE_CIDRS, ("", "kubernetes")),
    (ENDPOINTS, ("default", "kubernetes")),
    (ENDPOINT_SLICES, ("default", "kubernetes")),
)
_OF_OTHERS: Final[Sequence[_Looked]] = (
    *((NAMESPACES, ("", name)) for name in objects.NAMESPACES),
    (FLOW_SCHEMAS, None),
    (PRIORITY_LEVELS, None),
    (CONFIG_MAPS, ("kube-system", objects.AUTHENTICATION)),
    (CONFIG_MAPS, ("kube-system", objects.TOKEN_TRACKING)),
)
#: upstream's field manager of the default ServiceCIDR's status
_DEFAULT_RANGE = "kubernetes-service-cidr-controller"


class Keeper:
    """As a member of ``system:masters``. ``config``: what the server was started with; ``reader`` tells of changes.
    ``leases``: of the servers that share the store; None: this one has it alone."""

    def __init__(
        self,
        writer: Transport,
        config: BootstrapConfig,
        clock: Clock,
        reader: ObjectReader,
        leases: MasterLeases | None = None,
    ) -> None:
        self._writer, self._config, self._clock, self._reader = writer, config, clock, reader
        self._leases = leases

    async def run(self) -> None:
        """Runs until cancelled."""
        if self._leases is None:
            service = self._repeat(self.keep_service, SERVICE_INTERVAL_SECONDS, _OF_SERVICE)
        else:
            service = self._keep_leases(self._leases)
        others = self._repeat(self.keep_others, INTERVAL_SECONDS, _OF_OTHERS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(service, name="keep the kubernetes service")
            tasks.create_task(others, name="keep other system objects")

    async def keep_service(self) -> bool:
        """Whether all of it could be done. Raises ApiError."""
        default = [namespace for namespace in objects.namespaces() if namespace["metadata"]["name"] == "default"]
        faults = await ensure_each(self._writer, default)
        addresses = await self._leases.living() if self._leases is not None else None
        faults += await ensure_each(self._writer, objects.kubernetes_service(self._config, addresses))
        _log(faults)
        await self._mark_ready()
        return not faults

    async def leave(self) -> None:
        """Takes this server out of the endpoints, for it ends. Best effort: whoever is left does it too."""
        if self._leases is None:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._leases.leave()
                endpoints = objects.kubernetes_service(self._config, await self._leases.living())
                _log(await ensure_each(self._writer, endpoints))
        except (ApiError, StoreError, TimeoutError) as error:
            log.info("the endpoints of this server go when its lease has run out: %s", error or "no answer in time")

    async def _keep_leases(self, leases: MasterLeases) -> NoReturn:
        """Renews this server's lease, and looks at the endpoints then and whenever a server comes or goes."""
        changed = asyncio.Event()
        remove = leases.on_change(changed.set)
        loop = asyncio.get_running_loop()
        renew, due = True, 0.0
        try:
            while True:
                changed.clear()
                if renew:
                    # Reckoned from before the renewal: a slow store must not cost the lease.
                    began = loop.time()
                    due = began + (SERVICE_INTERVAL_SECONDS if await _renewed(leases) else RETRY_SECONDS)
                await _attempt(self.keep_service)
                await _happens_before(min(due, leases.next_end()), changed)
                renew = loop.time() >= due
        finally:
            remove()

    async def keep_others(self) -> bool:
        """Whether all of it could be done. Raises ApiError."""
        faults = await ensure_each(self._writer, objects.namespaces())
        tracking = objects.token_tracking(self._clock.now())
        wanted = [*flow.flow_control(), *objects.authentication_config(self._config), tracking]
        faults += await ensure_each(self._writer, wanted)
        _log(faults)
        await self._mark_dangling()
        return not faults

    async def _repeat(
        self, keep: Callable[[], Awaitable[bool]], interval_seconds: float, looked: Sequence[_Looked]
    ) -> NoReturn:
        changed = asyncio.Event()
        unsubscribe = [
            self._reader.on_change(resource, *one, changed.set)
            if one is not None
            else self._reader.subscribe(resource, lambda *change: changed.set(), keep=False)
            for resource, one in looked
        ]
        try:
            while True:
                changed.clear()
                ended_well = await _attempt(keep)
                began = asyncio.get_running_loop().time()
                if ended_well:
                    await changed.wait()
                passed = asyncio.get_running_loop().time() - began
                # At the moment of a pass, wherever those before it were left out.
                await asyncio.sleep((math.floor(passed / interval_seconds) + 1) * interval_seconds - passed)
        finally:
            for remove in unsubscribe:
                remove()

    async def _mark_dangling(self) -> None:
        """Every FlowSchema says whether its priority level is there."""
        schemas, levels = await asyncio.gather(
            self._writer.call(Call("GET", FLOW_SCHEMAS.path())), self._writer.call(Call("GET", PRIORITY_LEVELS.path()))
        )
        names = {level["metadata"]["name"] for level in levels.get("items") or ()}
        for schema in schemas.get("items") or ():
            said = flow.dangling(schema, names, self._clock.now())
            if said is not None:
                await self._say(FLOW_SCHEMAS, schema["metadata"]["name"], said, flow.CONSUMER)

    async def _mark_ready(self) -> None:
        """The default range says that it gives out addresses, unless somebody says something else of it."""
        cidr = await self._writer.call(Call("GET", SERVICE_CIDRS.path(name="kubernetes")))
        conditions = (cidr.get("status") or {}).get("conditions") or []
        if cidr["metadata"].get("deletionTimestamp") or any(each.get("type") == "Ready" for each in conditions):
            return
        if (cidr.get("spec") or {}).get("cidrs") == list(self._config.service_cidrs):
            ready = objects.ready_condition(self._clock.now())
            await self._say(SERVICE_CIDRS, "kubernetes", ready, _DEFAULT_RANGE)

    async def _say(self, resource: Resource, name: str, condition: Obj, manager: str) -> None:
        """Applies one condition of the status; those of others stay."""
        body = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": {"name": name},
            "status": {"conditions": [condition]},
        }
        path, query = resource.path(name=name, subresource="status"), {"fieldManager": manager, "force": "true"}
        await self._writer.call(Call("PATCH", path, query, body=body, content_type=_APPLY))


async def _happens_before(due: float, changed: asyncio.Event) -> None:
    """Returns when it has happened, and just after ``due`` (the loop's clock) in any case."""
    timer = asyncio.get_running_loop().call_at(due + _HAIR_SECONDS, changed.set)
    try:
        await changed.wait()
    finally:
        timer.cancel()


async def _renewed(leases: MasterLeases) -> bool:
    try:
        await leases.renew()
    except StoreError as error:
        log.warning("the lease of this API server was not renewed: %s", error)
        return False
    return True


async def _attempt(keep: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await keep()
    except ApiError as error:
        _log([error])
    except StoreError as error:
        log.warning("objects that the cluster needs were not looked at: %s", error)
    except Exception:  # a fault of ours costs this pass
        log.exception("objects that the cluster needs were not looked at")
    return False


def _log(faults: list[ApiError]) -> None:
    for error in faults:
        log.warning("an object that the cluster needs: %s", error)
