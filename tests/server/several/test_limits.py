"""What there is only so much of, asked for at several servers at once: nothing is given twice, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest

from sampan.api.errors import ApiError, Forbidden, Invalid
from sampan.api.transport import Call
from sampan.testing.yielding import LateStore

from .several_servers import Member, several, start

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"
#: orders of events that are gone through; more of them by hand
SEEDS = int(os.environ.get("SAMPAN_TEST_SEEDS", "6"))


async def at_once(members: Sequence[Member], rng: random.Random, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    return await asyncio.gather(*(rng.choice(members)(*call) for call in calls), return_exceptions=True)


async def test_a_quota_is_never_exceeded_and_always_used_up() -> None:
    store = LateStore(0)
    async with several(3, store=store) as members:
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "5"}}}
        await members[0]("POST", QUOTAS, quota)
        status = {
            "metadata": {"name": "q"},
            "status": {"hard": {"count/configmaps": "5"}, "used": {"count/configmaps": "0"}},
        }
        await members[0]("PUT", f"{QUOTAS}/q/status", status)
        await store.sync()
        for seed in range(SEEDS):
            store.reseed(seed)
            rng = random.Random(seed)
            names = [f"c{seed}-{n}" for n in range(12)]
            answers = await at_once(members, rng, [("POST", CONFIGMAPS, {"metadata": {"name": n}}) for n in names])
            made = [name for name, answer in zip(names, answers, strict=True) if isinstance(answer, dict)]
            assert len(made) == 5, (seed, answers)
            assert all(isinstance(answer, dict | Forbidden) for answer in answers), (seed, answers)
            used = (await rng.choice(members)("GET", f"{QUOTAS}/q"))["status"]["used"]
            assert used == {"count/configmaps": "5"}, seed
            for name in made:
                await rng.choice(members)("DELETE", f"{CONFIGMAPS}/{name}")
            await members[0]("PUT", f"{QUOTAS}/q/status", status)


async def test_addresses_and_node_ports_are_given_once_and_all_of_them() -> None:
    store = LateStore(0)
    ranges = {"service_cidr": "10.96.0.0/28", "node_port_range": (30000, 30009)}
    async with several(3, store=store, **ranges) as members:
        for seed in range(SEEDS):
            store.reseed(seed)
            rng = random.Random(seed)
            names = [f"s{seed}-{n}" for n in range(12)]
            wanted = [
                ("POST", SERVICES, {"metadata": {"name": n}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}})
                for n in names
            ]
            answers = await at_once(members, rng, wanted)
            made = [answer for answer in answers if isinstance(answer, dict)]
            assert all(isinstance(answer, dict | Invalid | ApiError) for answer in answers), (seed, answers)
            ports = [service["spec"]["ports"][0]["nodePort"] for service in made]
            addresses = [service["spec"]["clusterIP"] for service in made]
            assert len(made) == len(set(ports)) == len(set(addresses)) == 10, (seed, answers)
            for service in made:
                await rng.choice(members)("DELETE", f"{SERVICES}/{service['metadata']['name']}")
            await store.sync()


async def test_servers_that_start_at_once_on_an_empty_store_make_one_cluster() -> None:
    for seed in range(3):
        store = LateStore(seed)
        members = await asyncio.gather(*(start(store, index) for index in range(3)))
        try:
            listed = [await member("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles") for member in members]
            found = [{item["metadata"]["name"]: item["metadata"]["uid"] for item in each["items"]} for each in listed]
            assert found[0] == found[1] == found[2] and "cluster-admin" in found[0]
            service = await members[2]("GET", "/api/v1/namespaces/default/services/kubernetes")
            assert service["spec"]["clusterIP"] == "10.96.0.1"
        finally:
            await asyncio.gather(*(member.end() for member in members))


async def test_a_list_goes_on_at_another_server_as_it_was_when_it_began() -> None:
    async with several(2) as (first, second):
        for n in range(10):
            await first("POST", CONFIGMAPS, {"metadata": {"name": f"c{n}"}})
        page = await first("GET", CONFIGMAPS, limit="4")
        await first("DELETE", f"{CONFIGMAPS}/c7")
        await second("POST", CONFIGMAPS, {"metadata": {"name": "c5a"}})
        rest = await second("GET", CONFIGMAPS, **{"limit": "100", "continue": page["metadata"]["continue"]})
        assert [item["metadata"]["name"] for item in page["items"] + rest["items"]] == [f"c{n}" for n in range(10)]
        exact = {"resourceVersion": page["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}
        again = await second("GET", CONFIGMAPS, **exact)
        assert [item["metadata"]["name"] for item in again["items"]] == [f"c{n}" for n in range(10)]


@pytest.mark.parametrize("seed", range(4))
async def test_a_watch_goes_on_at_another_server_without_gap_or_repeat(seed: int) -> None:
    async with several(2, seed=seed) as members:
        rng = random.Random(seed)
        position = (await members[0]("GET", CONFIGMAPS))["metadata"]["resourceVersion"]
        names = [f"c{n}" for n in range(40)]

        async def make() -> None:
            for name in names:
                await rng.choice(members)("POST", CONFIGMAPS, {"metadata": {"name": name}})

        making = asyncio.ensure_future(make())
        seen: list[str] = []
        turn = 0
        async with asyncio.timeout(20):
            while len(seen) < len(names):
                turn += 1
                transport = members[turn % 2].server.local_transport()
                call = Call("GET", CONFIGMAPS, {"watch": "1", "resourceVersion": position})
                async with transport.watch(call) as events:
                    for _ in range(min(rng.randrange(1, 6), len(names) - len(seen))):
                        event = await anext(events)
                        position = event.object["metadata"]["resourceVersion"]
                        seen.append(event.object["metadata"]["name"])
        await making
        assert seen == names
