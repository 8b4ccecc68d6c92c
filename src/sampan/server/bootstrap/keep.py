"""Keeps what a cluster cannot be without: makes it again when somebody deleted it, for as long as the server runs.

What upstream's API server looks after, and how often: the ``kubernetes`` Service with its endpoints and range every
ten seconds; system namespaces, flow control, the CA of clients and
the day from which tokens of Secrets are watched every minute. Default policy and priority classes
are looked at when a server starts and not again, as upstream. A fault costs a pass, never the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from sampan.api.clock import Clock
from sampan.api.errors import ApiError
from sampan.api.resources import FLOW_SCHEMAS, PRIORITY_LEVELS, SERVICE_CIDRS, Resource
from sampan.api.transport import Call, Transport
from sampan.api.types import Obj
from sampan.server.bootstrap import flow, objects
from sampan.server.bootstrap.ensure import ensure_each
from sampan.server.bootstrap.objects import BootstrapConfig

log = logging.getLogger(__name__)

SERVICE_INTERVAL_SECONDS = 10.0
INTERVAL_SECONDS = 60.0
_APPLY = "application/apply-patch+yaml"
#: upstream's field manager of the default ServiceCIDR's status
_DEFAULT_RANGE = "kubernetes-service-cidr-controller"


class Keeper:
    """As a member of ``system:masters``. ``config`` is what the server was started with."""

    def __init__(self, writer: Transport, config: BootstrapConfig, clock: Clock) -> None:
        self._writer, self._config, self._clock = writer, config, clock

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(self.keep_service, SERVICE_INTERVAL_SECONDS), name="keep the kubernetes service")
            tasks.create_task(_repeat(self.keep_others, INTERVAL_SECONDS), name="keep other system objects")

    async def keep_service(self) -> None:
        default = [namespace for namespace in objects.namespaces() if namespace["metadata"]["name"] == "default"]
        _log(await ensure_each(self._writer, default))
        _log(await ensure_each(self._writer, objects.kubernetes_service(self._config)))
        await self._mark_ready()

    async def keep_others(self) -> None:
        _log(await ensure_each(self._writer, objects.namespaces()))
        tracking = objects.token_tracking(self._clock.now())
        wanted = [*flow.flow_control(), *objects.authentication_config(self._config), tracking]
        _log(await ensure_each(self._writer, wanted))
        await self._mark_dangling()

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
        if (cidr.get("spec") or {}).get("cidrs") == [self._config.service_cidr]:
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


async def _repeat(keep: Callable[[], Awaitable[None]], interval_seconds: float) -> NoReturn:
    while True:
        try:
            await keep()
        except ApiError as error:
            _log([error])
        except Exception:  # a fault of ours costs this pass
            log.exception("objects that the cluster needs were not looked at")
        await asyncio.sleep(interval_seconds)


def _log(faults: list[ApiError]) -> None:
    for error in faults:
        log.warning("an object that the cluster needs: %s", error)
