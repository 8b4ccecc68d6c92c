"""Several API servers, many clients, one store that lets others run at random points: no number is ever of two
Services, none is lost, whatever becomes of the requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sampan.api.errors import ApiError
from sampan.testing.yielding import LateStore, YieldingStore

NAMES = ("a", "b", "c", "d")
#: small ranges, so that clients meet
RANGES: dict[str, Any] = {"cidr": "10.96.0.0/28", "ports": (30000, 30005)}
SEEDS, ROUNDS = 240, 20


def spec_of(rng: random.Random) -> dict[str, Any]:
    """Of any type, with numbers that the server chooses or that others ask for, too."""
    spec: dict[str, Any] = {"type": rng.choice(("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))}
    if spec["type"] == "ExternalName":
        return {**spec, "externalName": "x.example", "clusterIP": "", "ports": [{"port": 80}]}
    if rng.random() < 0.5:
        spec["clusterIP"] = f"10.96.0.{rng.randrange(1, 8)}"
    if spec["type"] == "LoadBalancer" and rng.random() < 0.5:
        spec["externalTrafficPolicy"] = "Local"
    ports = [{"name": "x", "port": 80}, {"name": "y", "port": 80, "protocol": "UDP"}, {"name": "z", "port": 81}]
    spec["ports"] = ports[: rng.randrange(1, 4)]
    if spec["type"] != "ClusterIP" and rng.random() < 0.6:
        spec["ports"][0]["nodePort"] = 30000 + rng.randrange(6)
    if rng.random() < 0.1:
        spec["sessionAffinity"] = "Never"  # refused
    return spec


def write(cluster: Any, rng: random.Random) -> Coroutine[Any, Any, Any]:
    server, name = rng.randrange(len(cluster.servers)), rng.choice(NAMES)
    path = f"/api/v1/namespaces/ns/services/{name}"
    match rng.randrange(8):
        case 0 | 1 | 2:
            return cluster.create(name, server=server, dry_run=rng.random() < 0.1, **spec_of(rng))
        case 3 | 4:
            spec = spec_of(rng)
            spec.pop("clusterIP", None)  # it may not change; a merge patch leaves it or clears it
            return cluster.patch(name, server=server, **spec)
        case 5:
            return cluster("PATCH", path, {"metadata": {"finalizers": ["example.com/wait"]}}, server=server)
        case 6:
            return cluster("PATCH", path, {"metadata": {"finalizers": None}}, server=server)
        case _:
            return cluster.delete(name, server=server)


async def client(cluster: Any, rng: random.Random, writes: int) -> None:
    for _ in range(writes):
        task = asyncio.ensure_future(write(cluster, rng))
        if rng.random() < 0.2:  # a client that goes away
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except ApiError as error:
            assert error.code != 500 or "range is full" in error.message, error
        except asyncio.CancelledError:
            if not task.cancelled():
                raise


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(SEEDS // ROUNDS))
async def test_no_number_is_given_twice_or_lost(start: Any, doubles: Callable[..., list[str]], seed: int) -> None:
    """Each round of clients begins with what the one before it left, and has an order of events of its own."""
    store = LateStore(seed) if seed % 2 else YieldingStore(seed)
    faults = doubles(store)
    async with start(store, servers=2, seed=seed, **RANGES) as cluster:
        for number in range(ROUNDS):
            clients = (client(cluster, random.Random(f"{seed} {number} {each}"), 4) for each in range(4))
            await asyncio.gather(*clients)
            await cluster.settled()
            await store.sync()
            assert not faults, (number, faults)
            assert await cluster.records() == await cluster.held(), number


@pytest.mark.timeout(120)
async def test_all_of_a_range_is_given_out_to_clients_that_come_at_once(start: Any) -> None:
    for seed in range(3):
        async with start(YieldingStore(seed), servers=3, seed=seed, **RANGES) as cluster:
            for _ in range(4):
                results = await asyncio.gather(
                    *(cluster.create(f"s{each}", server=each % 3) for each in range(16)), return_exceptions=True
                )
                made = [result for result in results if not isinstance(result, BaseException)]
                given = {each["spec"]["clusterIP"] for each in made}
                assert len(given) == len(made) == 13, seed  # 14 addresses, the first is of `kubernetes`
                refused = [str(result) for result in results if isinstance(result, BaseException)]
                assert all("range is full" in text for text in refused)
                await asyncio.gather(*(cluster.delete(each["metadata"]["name"]) for each in made))


@pytest.mark.timeout(120)
async def test_a_service_made_anew_while_the_old_one_goes_never_shares_its_address(
    start: Any, doubles: Callable[..., list[str]]
) -> None:
    for seed in range(10):
        store = YieldingStore(seed)
        faults = doubles(store)
        async with start(store, seed=seed) as cluster:
            for _ in range(20):
                await cluster.create("s", clusterIP="10.96.0.9")
                others = [cluster.create("s", clusterIP="10.96.0.9"), cluster.create("t", clusterIP="10.96.0.9")]
                await asyncio.gather(cluster.delete("s"), *others, return_exceptions=True)
                assert not faults, (seed, faults)
                assert await cluster.records() == await cluster.held(), seed
                await asyncio.gather(cluster.delete("s"), cluster.delete("t"), return_exceptions=True)
