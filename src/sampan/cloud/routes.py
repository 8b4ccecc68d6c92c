"""The route-controller: the cloud's network sends each node's pod range to that node.

``plan_routes`` decides. A node whose routes are there is told so (NetworkUnavailable is false), and one whose are not
gets no pods: the taint of that condition is the node lifecycle controller's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.errors import ApiError, NotFound
from sampan.api.reading import part, text
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.cloud.context import CALL_SECONDS, Context
from sampan.cloud.provider import CloudError, Route, Routes
from sampan.cloud.reading import condition
from sampan.records import dataclass

log = logging.getLogger(__name__)

NAME: Final = "route-controller"
_TOGETHER = 10


@dataclass(frozen=True, slots=True)
class RoutePlan:
    create: tuple[Route, ...]
    delete: tuple[Route, ...]


def plan_routes(wanted: Mapping[str, Sequence[str]], there: Iterable[Route], cluster_cidrs: Sequence[str]) -> RoutePlan:
    """``wanted``: ranges by node. Routes outside of the cluster's ranges are somebody else's."""
    found = list(there)
    right = {(node, cidr) for node, cidrs in wanted.items() for cidr in cidrs}
    has = {(route.node, route.cidr) for route in found}
    ours = [route for route in found if _is_within(route.cidr, cluster_cidrs)]
    return RoutePlan(
        tuple(Route("", node, cidr) for node, cidr in sorted(right - has)),
        tuple(route for route in ours if (route.node, route.cidr) not in right),
    )


def _is_within(cidr: str, ranges: Sequence[str]) -> bool:
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        return False
    whole = (ipaddress.ip_network(each) for each in ranges)
    # Both are of one family, which the types do not show.
    return any(each.version == network.version and network.subnet_of(each) for each in whole)  # type: ignore[arg-type]


def ranges_of(node: Obj) -> tuple[str, ...]:
    spec = part(node, "spec")
    listed = spec.get("podCIDRs")
    if isinstance(listed, list) and listed:
        return tuple(each for each in listed if isinstance(each, str))
    single = text(spec, "podCIDR")
    return (single,) if single else ()


class RouteController:
    def __init__(self, context: Context, routes: Routes) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._routes = routes
        self._clock = context.clock
        self._cidrs = context.settings.cluster_cidrs
        self._period = context.settings.route_seconds
        self._nodes = context.informers.informer(NODES)
        self._together = asyncio.Semaphore(_TOGETHER)

    async def run(self) -> None:
        await tasks.run_all(routes=self._reconcile(), events=self._recorder.run())

    async def _reconcile(self) -> None:
        await self._nodes.synced()
        while True:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    there = await self._routes.routes()
                await self.apply(there)
            except (CloudError, TimeoutError) as error:
                log.warning("%s: routes cannot be listed: %s", NAME, error or "the cloud does not answer")
            await asyncio.sleep(self._period)

    async def apply(self, there: Sequence[Route]) -> None:
        nodes = {objects.name(node): node for node in self._nodes.list()}
        plan = plan_routes({name: ranges_of(node) for name, node in nodes.items()}, there, self._cidrs)
        # Those that go first: a range may have gone from one node to another.
        await asyncio.gather(*(self._delete(route) for route in plan.delete))
        made = await asyncio.gather(*(self._create(route, nodes[route.node]) for route in plan.create))
        without = {name for name, routed in made if not routed}  # one range of two is not enough
        for name, node in nodes.items():
            if ranges_of(node):
                await self._tell(node, name not in without)

    async def _delete(self, route: Route) -> None:
        async with self._together:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await self._routes.delete(route)
            except (CloudError, TimeoutError) as error:
                log.warning("%s: route %s to %s cannot be deleted: %s", NAME, route.cidr, route.node, error)

    async def _create(self, route: Route, node: Obj) -> tuple[str, bool]:
        """The node, and whether it has it."""
        async with self._together:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await self._routes.create(route)
            except (CloudError, TimeoutError) as error:
                said = f"Could not create route {route.cidr} for node {route.node}: {error or 'no answer'}"
                self._recorder.event(node, "Warning", "FailedToCreateRoute", said)
                return route.node, False
        return route.node, True

    async def _tell(self, node: Obj, routed: bool) -> None:
        status = "False" if routed else "True"
        had = condition(node, "NetworkUnavailable")
        reason = "RouteCreated" if routed else "NoRouteCreated"
        if had is not None and (had.get("status"), had.get("reason")) == (status, reason):
            return
        now = format_time(self._clock.now())
        told = {
            "type": "NetworkUnavailable",
            "status": status,
            "reason": reason,
            "message": "RouteController created a route" if routed else "RouteController failed to create a route",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now if had is None or had.get("status") != status else had.get("lastTransitionTime"),
        }
        patch = {"status": {"conditions": [told]}}
        try:
            await self._client.patch(NODES, objects.name(node), patch, subresource="status", patch_type="strategic")
        except NotFound:
            return
        except ApiError as error:
            log.warning("%s: node %s: %s", NAME, objects.name(node), error.message)
