"""A candidate that tells what becomes of it: Events of its lease, and metrics under upstream's names."""

from __future__ import annotations

import asyncio
import contextlib

from sampan.api.clock import Clock, Random
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.leaderelection.elector import Lead, LeaderElector
from sampan.client.leaderelection.record import ElectionConfig
from sampan.metrics import Counter, Gauge, current

#: what the last Events may wait for a server that does not answer
_TELL_SECONDS = 2.0
_NAME = ("name",)


class Candidate:
    """``elector`` may be asked who leads. ``component`` is the source of its Events."""

    def __init__(self, client: Client, config: ElectionConfig, clock: Clock, random: Random, component: str) -> None:
        """Raises WrongElection."""
        self.elector = LeaderElector(client, config, clock, random, self)
        self._recorder = EventRecorder(client, component, "", clock)
        registry = current()
        self._status = registry.of(
            "leader_election_master_status",
            lambda: Gauge(
                "leader_election_master_status",
                "Whether this process leads by the lease of that name: 1, or 0 for one that stands by",
                _NAME,
            ),
        )
        self._slow = registry.of(
            "leader_election_slowpath",
            lambda: Counter("leader_election_slowpath", "Renewals that needed more than one request", _NAME),
        )

    async def run(self, lead: Lead) -> None:
        """As ``LeaderElector.run``."""
        telling = tasks.detach(self._recorder.run(), "events of the election")
        try:
            await self.elector.run(lead)
        finally:
            await tasks.cancel_and_wait(telling)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._recorder.flush()

    # ``elector.Report``

    def leading(self, name: str, leads: bool) -> None:
        self._status.set(int(leads), name)

    def event(self, lease: Obj, message: str) -> None:
        self._recorder.event(lease, "Normal", "LeaderElection", message)

    def slow_path(self, name: str) -> None:
        self._slow.add(name)
