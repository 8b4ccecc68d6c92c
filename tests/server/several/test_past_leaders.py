"""A leader of the past changes nothing at any server, however its write and its successor's lease race."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest

from sampan.api.errors import ApiError, Conflict
from sampan.api.resources import CONFIG_MAPS, LEASES
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.testing.yielding import LateStore

from .several_servers import Member, several

PLACE = "/api/v1/namespaces/default/configmaps"
SEEDS = int(os.environ.get("SAMPAN_TEST_SEEDS", "20"))


def lease(holder: str) -> dict[str, Any]:
    meta = {"name": "boss", "namespace": "kube-system"}
    return {
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": meta, "spec": {"holderIdentity": holder},
    }  # fmt: skip


async def write(member: Member, name: str, leader: str) -> Any:
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}}
    return await member.server.local_transport().call(
        Call("POST", PLACE, body=body, leader=f"kube-system/boss {leader}")
    )


async def test_a_new_leader_may_write_at_a_server_that_has_not_heard_of_its_lease() -> None:
    async with several(2) as (first, second):
        client = Client(first.server.local_transport())
        held = await client.create(LEASES, lease("a"))
        await second.way._store.sync()
        second.way.hold()
        await client.update(LEASES, {**held, "spec": {"holderIdentity": "b"}})
        await write(second, "new", "b")
        with pytest.raises(Conflict, match="is not held by who asks"):
            await write(second, "old", "a")
        second.way.release()


async def test_a_lease_that_is_only_renewed_meanwhile_costs_no_write() -> None:
    async with several(2) as (first, second):
        client = Client(first.server.local_transport())
        held = await client.create(LEASES, lease("a"))
        await second.way._store.sync()
        second.way.hold()
        for n in range(3):
            held = await client.update(LEASES, {**held, "spec": {"holderIdentity": "a", "leaseTransitions": n}})
        await write(second, "new", "a")
        second.way.release()


async def test_whoever_wins_the_race_no_write_of_a_past_leader_comes_after_its_lease_is_anothers() -> None:
    store = LateStore(0)
    async with several(2, store=store) as members:
        refused = 0
        for seed in range(SEEDS):
            store.reseed(seed)
            rng = random.Random(seed)
            client = Client(rng.choice(members).server.local_transport())
            held = await client.create(LEASES, lease("a"))
            names = [f"s{seed}-{n}" for n in range(4)]
            usurp = client.update(LEASES, {**held, "spec": {"holderIdentity": "b"}})
            answers = await asyncio.gather(
                usurp, *(write(rng.choice(members), name, "a") for name in names), return_exceptions=True
            )
            assert isinstance(answers[0], dict), seed
            taken = int(answers[0]["metadata"]["resourceVersion"])
            for name, answer in zip(names, answers[1:], strict=True):
                if isinstance(answer, Conflict):
                    refused += 1
                    continue
                assert not isinstance(answer, ApiError), (seed, answer)
                made = await client.get(CONFIG_MAPS, name, "default")
                assert int(made["metadata"]["resourceVersion"]) < taken, (
                    seed,
                    "it was committed after its leader's end",
                )
            await client.delete(LEASES, "boss", "kube-system")
        assert 0 < refused < 4 * SEEDS, "the race was one"
