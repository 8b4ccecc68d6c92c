"""Leader election on a Lease, under virtual time."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import LEASES
from sampan.client.client import Client
from sampan.client.leaderelection import ElectionConfig, LeaderElector, LeadershipLost


class LoopClock:
    """Wall time that goes with the loop's virtual time."""

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=asyncio.get_running_loop().time())


def elector(api, identity):
    config = ElectionConfig("kube-system", "manager", identity)
    return LeaderElector(Client(api), config, LoopClock(), random.Random(identity))


def holder(api):
    lease = api.get(LEASES, "kube-system", "manager")
    return lease["spec"]["holderIdentity"] if lease else None


def test_one_leads_and_the_other_takes_over_within_twenty_seconds(remote_api, virtual):
    async def run():
        loop = asyncio.get_running_loop()
        leading = []

        def lead(identity):
            async def work():
                leading.append(identity)
                await loop.create_future()

            return work

        first = asyncio.ensure_future(elector(remote_api, "a").run(lead("a")))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(elector(remote_api, "b").run(lead("b")))
        await asyncio.sleep(60)
        assert leading == ["a"]
        # "a" dies without a word: it neither renews nor releases.
        remote_api.fail_next = [("PUT", "leases", ServiceUnavailable("cut"))]
        first.cancel()
        await asyncio.wait([first])
        died = loop.time()
        assert holder(remote_api) == "a"
        await asyncio.sleep(20 - (loop.time() - died))
        assert leading == ["a", "b"]
        assert remote_api.get(LEASES, "kube-system", "manager")["spec"]["leaseTransitions"] == 1
        second.cancel()
        await asyncio.wait([second])
        assert holder(remote_api) == ""

    virtual(run())


def test_leader_that_cannot_renew_stops(remote_api, virtual):
    async def run():
        stopped = []

        async def work():
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                stopped.append(True)

        task = asyncio.ensure_future(elector(remote_api, "a").run(work))
        await asyncio.sleep(5)
        remote_api.fail_next = [("GET", "leases", ServiceUnavailable("down")) for _ in range(50)]
        with pytest.raises(LeadershipLost):
            await task
        assert stopped

    virtual(run())
