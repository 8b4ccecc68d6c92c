"""Keeps what a cluster cannot be without: makes it again when somebody deleted it, for as long as the server runs.

What upstream's API server looks after, and how often: the ``kubernetes`` Service with its endpoints and range every
ten seconds; system namespaces, flow control, the CA of clients and
the day from which tokens of Secrets are watched every minute. Default policy and priority classes
are looked at when a server starts and not again, as upstream. A fault costs a pass, never the server. A pass that
is due is left out while nothing of what it looks at has changed since the last one: an idle server has nothing to do.
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
from sampan.server.bootstrap.objects import BootstrapConfig
from sampan.server.reader import ObjectReader

log = logging.getLogger(__name__)

SERVICE_INTERVAL_SECONDS = 10.0
INTERVAL_SECONDS = 60.0
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
    """As a member of ``system:masters``. ``config``: what the server was started with; ``reader`` tells of changes."""

    def __init__(self, writer: Transport, config: BootstrapConfig, clock: Clock, reader: ObjectReader) -> None:
        self._writer, self._config, self._clock, self._reader = writer, config, clock, reader

    async def run(self) -> None:
        """Runs until cancelled."""
        passes = (
            (self.keep_service, SERVICE_INTERVAL_SECONDS, _OF_SERVICE, "keep the kubernetes service"),
            (self.keep_others, INTERVAL_SECONDS, _OF_OTHERS, "keep other system objects"),
        )
        async with asyncio.TaskGroup() as tasks:
            for keep, seconds, looked, name in passes:
                tasks.create_task(self._repeat(keep, seconds, looked), name=name)

    async def keep_service(self) -> bool:
        """Whether all of it could be done. Raises ApiError."""
        default = [namespace for namespace in objects.namespaces() if namespace["metadata"]["name"] == "default"]
        faults = await ensure_each(self._writer, default)
        faults += await ensure_each(self._writer, objects.kubernetes_service(self._config))
        _log(faults)
        await self._mark_ready()
        return not faults

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


async def _attempt(keep: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await keep()
    except ApiError as error:
        _log([error])
    except Exception:  # a fault of ours costs this pass
        log.exception("objects that the cluster needs were not looked at")
    return False


def _log(faults: list[ApiError]) -> None:
    for error in faults:
        log.warning("an object that the cluster needs: %s", error)
