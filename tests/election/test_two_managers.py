"""Two controller managers: whatever becomes of the leader, another takes over within 20 s and never do two act."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
import suite_samples
from election_world import Process, Schedule, api_server, run, schedules

from sampan.api.resources import NAMESPACES, SERVICE_ACCOUNTS
from sampan.client.client import Client
from sampan.client.leaderelection import Term
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import CONTROLLERS, run_controllers

pytestmark = pytest.mark.timeout(120)

WORKS = "serviceaccount-controller"
#: each test goes through so many schedules, over one API server
EACH = 5


async def manage(process: Process, term: Term, client_for: Callable[[str], Client]) -> None:
    await run_controllers(
        client_for("system:kube-controller-manager"),
        clock=process.timeline,
        random=random.Random(1),
        config=ControllersConfig(disabled=frozenset(CONTROLLERS) - {WORKS}),
        client_for=lambda name: client_for(f"system:serviceaccount:kube-system:{name}"),
    )


class Managers(Schedule):
    """Each namespace wants an account."""

    user, work = "system:kube-controller-manager", manage

    async def make(self, name: str) -> None:
        await self.admin.create(NAMESPACES, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})

    async def is_done(self, name: str) -> bool:
        found = await self.admin.list(SERVICE_ACCOUNTS, name)
        return [each["metadata"]["name"] for each in found["items"]] == ["default"]


@pytest.mark.parametrize("first", range(0, suite_samples.of(120, 40), EACH))
def test_another_takes_over_within_twenty_seconds_and_never_do_two_act(first: int) -> None:
    run(schedules(Managers, range(first, first + EACH)))


@pytest.mark.parametrize("told", [True, False])
def test_a_leader_whose_clock_stood_still_acts_no_more_because_the_server_is_told_who_leads(told: bool) -> None:
    """It believes in its term, and races with its successor. What the schedules above look for is there to be found."""

    async def usurped() -> int:
        async with api_server() as (server, store):
            schedule = Managers(server, store, 1)
            world, world.fences = schedule.world, told
            first = schedule.start()
            await world.until_led()
            schedule.start()
            await asyncio.sleep(5)
            first.stop()
            await world.until_led(other_than=first)
            await asyncio.sleep(2)
            first.go_on(lost_seconds=world.loop.time() - 5)
            for number in range(40):
                await schedule.make(f"n{number}")
                await asyncio.sleep(0.05)
            assert first.elector is not None
            found = len(world.usurped())
            await world.end()
            return found

    assert (run(usurped()) == 0) is told
