"""Controllers and scheduler of several server processes on one store: exactly one leads, and another soon after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.leaderelection import Term
from sampan.client.timeline import VirtualTimeline
from sampan.cluster.instance import Instance, NodeSettings
from sampan.cluster.leading import lead_here
from sampan.cluster.settings import ClusterSettings
from sampan.testing import virtual

from .several_servers import Member, several

NAME = "kube-scheduler"


class Machine:
    """A server process: it may lead while its server reaches the store."""

    def __init__(self, member: Member, index: int, tmp_path: Path) -> None:
        self.member, self.index = member, index
        self.instance = Instance(
            ClusterSettings("one"), tmp_path / "state", tmp_path / f"run{index}", NodeSettings(f"host{index}")
        )
        self.term: Term | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        return self.term is not None and self.term.may_act

    async def lead(self, term: Term) -> None:
        self.term = term
        try:
            await tasks.forever()
        finally:
            self.term = None

    @asynccontextmanager
    async def running(self) -> Any:
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        client = Client(self.member.server.local_transport())
        work = lead_here(client, NAME, self.instance, clock, Random(self.index), self.lead, shared=True)
        task = self.task = asyncio.ensure_future(work)
        try:
            yield
        finally:
            await tasks.cancel_and_wait(task)


def living(body: Callable[[list[Machine]], Any], tmp_path: Path, count: int = 3) -> None:
    async def run() -> None:
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with several(count, clock=clock) as members, AsyncExitStack() as stack:
            machines = [Machine(member, index, tmp_path) for index, member in enumerate(members)]
            for machine in machines:
                await stack.enter_async_context(machine.running())
            await asyncio.sleep(5)
            await body(machines)

    virtual.run(run())


def leaders(machines: list[Machine]) -> list[Machine]:
    return [machine for machine in machines if machine.leads]


def test_exactly_one_leads(tmp_path: Path) -> None:
    async def body(machines: list[Machine]) -> None:
        for _ in range(60):
            assert len(leaders(machines)) == 1
            await asyncio.sleep(1)

    living(body, tmp_path)


def test_when_the_leader_reaches_the_store_no_more_it_stops_and_another_leads_within_twenty_seconds(
    tmp_path: Path,
) -> None:
    async def body(machines: list[Machine]) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            (first,) = leaders(machines)
            cut_at, first.member.way.cut = loop.time(), True
            stopped = None
            while not [machine for machine in leaders(machines) if machine is not first]:
                if stopped is None and not first.leads:
                    stopped = loop.time()
                await asyncio.sleep(0.1)
                assert loop.time() - cut_at < 20
            assert stopped is not None and stopped - cut_at <= 10.2, "it stops before another begins"
            first.member.way.cut = False
            await asyncio.sleep(20)
            assert len(leaders(machines)) == 1

    living(body, tmp_path)


def test_the_next_process_of_a_machine_waits_for_the_one_before_it_and_then_leads_at_once(tmp_path: Path) -> None:
    async def body(machines: list[Machine]) -> None:
        (first,) = leaders(machines)
        again = Machine(first.member, first.index, tmp_path)
        async with again.running():
            await asyncio.sleep(30)
            assert not again.leads, "the one before it is there: it has the machine's lock"
            first.member.way.cut = True  # it gives nothing back: it is killed
            assert first.task is not None
            await tasks.cancel_and_wait(first.task)
            first.member.way.cut = False
            await asyncio.sleep(1)
            assert leaders(machines) == [] and again.leads

    living(body, tmp_path)
