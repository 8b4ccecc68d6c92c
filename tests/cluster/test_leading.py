"""Controllers and scheduler in the server's own process: they lead at once, and beside others they stand by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from sampan.api.resources import EVENTS, LEASES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.leaderelection import Term
from sampan.client.timeline import VirtualTimeline
from sampan.cluster.instance import Instance, NodeSettings
from sampan.cluster.leading import lead_here
from sampan.cluster.settings import ClusterSettings
from sampan.metrics import Registry, use
from sampan.metrics.text import text
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

NAME = "kube-controller-manager"


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    timeline = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
    async with Server(ServerConfig(listen=False, openapi=False, clock=timeline, random=Random(1))) as made:
        yield made


class House:
    """What the process does with the lease."""

    def __init__(self, made: Server, tmp_path: Path) -> None:
        self.client = Client(made.local_transport())
        self.instance = Instance(
            ClusterSettings("one"), tmp_path / "state", tmp_path / "run", NodeSettings("host", address="127.0.0.1")
        )
        self.leads, self.terms = False, 0

    async def lead(self, term: Term) -> None:
        self.leads, self.terms = True, self.terms + 1
        try:
            await tasks.forever()
        finally:
            self.leads = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        task = asyncio.ensure_future(
            lead_here(self.client, NAME, self.instance, clock, Random(2), self.lead, shared=False)
        )
        try:
            yield
        finally:
            await tasks.cancel_and_wait(task)

    async def lease(self) -> Obj:
        return await self.client.get(LEASES, NAME, "kube-system")

    async def taken_by(self, holder: str, seconds: int = 15) -> None:
        found = (await self.client.list(LEASES, "kube-system"))["items"]
        lease: Obj = found[0] if found else {"metadata": {"name": NAME, "namespace": "kube-system"}}
        lease |= {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1"}
        lease["spec"] = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
        await (self.client.update(LEASES, lease) if found else self.client.create(LEASES, lease))


def living(work: Callable[[House, Server], Coroutine[None, None, None]], tmp_path: Path) -> None:
    async def run() -> None:
        async with server() as made:
            await work(House(made, tmp_path), made)

    virtual.run(run())


def test_the_process_leads_in_no_time_and_tells_of_it(tmp_path: Path) -> None:
    async def live(house: House, made: Server) -> None:
        registry, loop = Registry(), asyncio.get_running_loop()
        with use(registry):
            began = loop.time()
            async with house.running():
                while not house.leads:  # noqa: ASYNC110  # all runs on this loop
                    await asyncio.sleep(0)
                assert loop.time() - began < 0.01
                assert (await house.lease())["spec"]["holderIdentity"] == "host_one"
                assert f'leader_election_master_status{{name="{NAME}"}} 1.0' in text(registry.copy()()).decode()
                await asyncio.sleep(1)
                events = (await house.client.list(EVENTS, "kube-system"))["items"]
                told = [(each["reason"], each["message"], each["source"]["component"]) for each in events]
                assert told == [("LeaderElection", "host_one became leader", NAME)]
        assert (await house.lease())["spec"]["holderIdentity"] == ""
        assert f'leader_election_master_status{{name="{NAME}"}} 0.0' in text(registry.copy()()).decode()

    living(live, tmp_path)


def test_after_a_crash_the_lease_is_still_its_own(tmp_path: Path) -> None:
    async def live(house: House, made: Server) -> None:
        await house.taken_by("host_one", 60)
        async with house.running():
            await asyncio.sleep(0.01)
            assert house.leads

    living(live, tmp_path)


def test_beside_another_it_stands_by_until_the_lease_is_free(tmp_path: Path) -> None:
    async def live(house: House, made: Server) -> None:
        await house.taken_by("elsewhere_1")
        async with house.running():
            await asyncio.sleep(14)
            assert not house.leads
            await asyncio.sleep(2)
            assert house.leads
            await house.taken_by("elsewhere_2")
            await asyncio.sleep(0.01)
            assert not house.leads
            await asyncio.sleep(20)
            assert house.leads and house.terms == 2

    living(live, tmp_path)


def test_a_lease_that_is_seldom_written_costs_little(tmp_path: Path) -> None:
    async def live(house: House, made: Server) -> None:
        async with house.running():
            await asyncio.sleep(0.1)
            assert made.store is not None
            before = int((await house.lease())["metadata"]["resourceVersion"])
            written = 0
            for _ in range(10):
                await asyncio.sleep(20)
                now = int((await house.lease())["metadata"]["resourceVersion"])
                written, before = written + (now != before), now
            assert 8 <= written <= 10

    living(live, tmp_path)


def test_a_dead_webhook_on_leases_keeps_no_controller_from_working(tmp_path: Path) -> None:
    async def live(house: House, made: Server) -> None:
        hook = {
            "name": "dead.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1,
            "rules": [
                {
                    "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"], "scope": "*",
                }
            ],
        }  # fmt: skip
        configuration = {
            "kind": "ValidatingWebhookConfiguration", "apiVersion": "admissionregistration.k8s.io/v1",
            "metadata": {"name": "dead"}, "webhooks": [hook],
        }  # fmt: skip
        await house.client.raw(
            "POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", configuration
        )
        async with house.running():
            await asyncio.sleep(0.1)
            assert house.leads

    living(live, tmp_path)
