"""All controllers beside each other: what the fault of one costs the others, and what comes back."""

import asyncio
import gc
import random
from contextlib import asynccontextmanager

import pytest

from sampan.api.resources import NAMESPACES, SERVICE_ACCOUNTS
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import CONTROLLERS, run_controllers

pytestmark = pytest.mark.logs_errors("failed; it is started again")

#: one manager has so many of its controllers struck, one after another: to start all of them takes longer
EACH = 10


@asynccontextmanager
async def running(client, clock, informers):
    started = asyncio.Event()
    arguments = {
        "clock": clock,
        "random": random.Random(1),
        "config": ControllersConfig(root_ca_pem="PEM", disabled=frozenset()),
    }
    follow = asyncio.ensure_future(informers.run())
    work = asyncio.ensure_future(run_controllers(client, informers=informers, started=started, **arguments))
    await started.wait()
    try:
        yield
    finally:
        for task in (work, follow):
            task.cancel()
        await asyncio.wait([work, follow])
        gc.collect()


@pytest.mark.parametrize("first", range(0, len(CONTROLLERS), EACH))
async def test_a_controller_that_fails_is_made_anew_and_the_others_live_on(api, clock, faults, first):
    client = Client(api)
    informers = InformerFactory(client, random=random.Random(1))
    async with running(client, clock, informers):
        await turns()
        before = handlers(informers)
        struck = []
        for name in list(CONTROLLERS)[first : first + EACH]:
            faults.strike(name)
            await faults.back(name)
            await turns()
            struck.append(name)
            assert handlers(informers) == before, name  # those of its first life are gone
            assert {other: lives for other, lives in faults.lives.items() if other in CONTROLLERS} == {
                other: 2 if other in struck else 1 for other in CONTROLLERS
            }, name
            # The others, and the new one, go on working.
            of_namespace = f"n{len(struck)}"
            api.add(NAMESPACES, {"metadata": {"name": of_namespace}, "spec": {}, "status": {"phase": "Active"}})
            async with asyncio.timeout(30):
                while api.get(SERVICE_ACCOUNTS, of_namespace, "default") is None:  # noqa: ASYNC110  # all runs on this loop
                    await asyncio.sleep(0)


async def turns():
    """Some turns of the loop: a life that has begun makes its controller in its own task."""
    for _ in range(10):
        await asyncio.sleep(0)


def handlers(informers):
    return {key: len(informer._handlers) for key, informer in informers._informers.items()}
