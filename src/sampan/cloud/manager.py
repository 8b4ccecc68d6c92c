"""Keeps the cloud's controllers running, each apart. Called by ``cluster.apart`` for a program of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sampan.api.clock import Clock, Random
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.cloud.context import Context, Settings
from sampan.cloud.lifecycle import CloudNodeLifecycleController
from sampan.cloud.nodes import CloudNodeController
from sampan.cloud.provider import Provider
from sampan.cloud.routes import RouteController
from sampan.cloud.services import CloudServiceController
from sampan.keeping.keeper import Keeper

#: upstream's names, and what each needs of the cloud
CONTROLLERS = (
    "cloud-node-controller",
    "cloud-node-lifecycle-controller",
    "node-route-controller",
    "service-lb-controller",
)


async def run_cloud_controllers(
    client: Client,
    provider: Provider,
    settings: Settings,
    *,
    clock: Clock,
    random: Random,
    client_for: Callable[[str], Client] | None = None,
    disabled: frozenset[str] = frozenset(),
) -> None:
    """Until cancelled. ``disabled``: names of ``CONTROLLERS``."""
    factory = InformerFactory(client, random=random)
    context = Context(factory, client_for or (lambda name: client), clock, provider, settings)
    async with Keeper() as kept:
        kept.keep("informers of the cloud's controllers", factory.run)
        for name, made in _made(context).items():
            if name not in disabled:
                kept.keep(name, made)
        await asyncio.sleep(0)
        await tasks.forever()


def _made(context: Context) -> dict[str, Callable[[], Awaitable[None]]]:  # each life is one of its own
    provider = context.provider
    found: dict[str, Callable[[], Awaitable[None]]] = {}
    if (instances := provider.instances) is not None:
        found[CONTROLLERS[0]] = lambda: CloudNodeController(context, instances).run()
        found[CONTROLLERS[1]] = lambda: CloudNodeLifecycleController(context, instances).run()
    if (routes := provider.routes) is not None and context.settings.cluster_cidrs:
        found[CONTROLLERS[2]] = lambda: RouteController(context, routes).run()
    if (balancers := provider.load_balancers) is not None:
        found[CONTROLLERS[3]] = lambda: CloudServiceController(context, balancers).run()
    return found
