"""Exact under any number of writers: never one object over, never one refused that would fit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.protocol import Store
from sampan.store.sqlite import SqliteStore
from sampan.testing.yielding import YieldingStore

NAMESPACE = "/api/v1/namespaces/default"
QUOTAS = f"{NAMESPACE}/resourcequotas"
MAPS = f"{NAMESPACE}/configmaps"
CREATORS = 50


@pytest.fixture(params=["sqlite", "yielding-1", "yielding-2", "yielding-3", "yielding-4"])
async def store(request: pytest.FixtureRequest, clock: FixedClock, tmp_path: Path) -> Store:
    """The server's own to close."""
    kind, _, seed = request.param.partition("-")
    if kind == "sqlite":
        return await SqliteStore.open(tmp_path / "store", clock=clock)
    return YieldingStore(int(seed), clock=clock)


@pytest.fixture
async def server(store: Store, clock: FixedClock) -> AsyncIterator[Server]:
    config = ServerConfig(
        listen=False,
        bootstrap=False,
        openapi=False,
        authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=("ServiceAccount",),
        clock=clock,
        random=Random(1),
    )
    async with Server(config, store=store) as made:
        yield made


@pytest.fixture
async def ask(server: Server, api_of: Any, clock: FixedClock) -> Any:
    made = api_of(server, clock)
    await made("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
    return made


async def settled(ask: Any, name: str, **used: str) -> None:
    """The controller has counted what is there."""
    for _ in range(100_000):
        status = (await ask("GET", f"{QUOTAS}/{name}")).obj.get("status") or {}
        if used.items() <= (status.get("used") or {}).items():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"the status of {name} stays {status}")


async def make_quotas(ask: Any, *limits: int) -> None:
    for index, limit in enumerate(limits):
        hard = {"count/configmaps": str(limit)}
        await ask("POST", QUOTAS, {"metadata": {"name": f"q{index}"}, "spec": {"hard": hard}})
    for index in range(len(limits)):
        await settled(ask, f"q{index}", **{"count/configmaps": "0"})


async def test_of_fifty_creators_as_many_succeed_as_fit(
    ask: Any, server: Server, running_controller: Callable[[Server], Any]
) -> None:
    async with running_controller(server):
        await make_quotas(ask, 33, 20)

        async def create(index: int) -> int:
            for _ in range(index % 7):
                await asyncio.sleep(0)
            return int((await ask("POST", MAPS, {"metadata": {"name": f"m{index}"}})).status)

        statuses = Counter(await asyncio.gather(*map(create, range(CREATORS))))
        assert statuses == {201: 20, 403: 30}
        assert len((await ask("GET", MAPS)).obj["items"]) == 20
        for name in ("q0", "q1"):
            await settled(ask, name, **{"count/configmaps": "20"})


async def test_no_count_takes_back_what_is_under_way(
    ask: Any, server: Server, running_controller: Callable[[Server], Any]
) -> None:
    """Writers create, delete and fail while the controller counts: there is never one object more than the limit."""
    random, limit, most = Random(5), 6, 0
    async with running_controller(server):
        await make_quotas(ask, limit)

        async def live(index: int) -> None:
            nonlocal most
            for turn in range(6):
                name = f"m{random.randrange(12)}" if index % 3 else f"own{index}-{turn}"
                made = await ask("POST", MAPS, {"metadata": {"name": name}})
                assert made.status in (201, 403, 409), made.obj
                present = len((await ask("GET", f"{MAPS}?resourceVersion=")).obj["items"])
                most = max(most, present)
                if random.random() < 0.7:
                    await ask("DELETE", f"{MAPS}/{name}")

        await asyncio.gather(*map(live, range(12)))
        assert most <= limit
        items = (await ask("GET", MAPS)).obj["items"]
        assert len(items) <= limit
        await settled(ask, "q0", **{"count/configmaps": str(len(items))})
        # Every place that is left can be had.
        for index in range(limit - len(items)):
            assert (await ask("POST", MAPS, {"metadata": {"name": f"last{index}"}})).status == 201
        assert (await ask("POST", MAPS, {"metadata": {"name": "over"}})).status == 403


async def test_a_write_that_fails_gives_back_what_it_took(
    ask: Any, server: Server, running_controller: Callable[[Server], Any]
) -> None:
    async with running_controller(server):
        await make_quotas(ask, 2)
        assert (await ask("POST", MAPS, {"metadata": {"name": "m"}})).status == 201
        again = await asyncio.gather(*(ask("POST", MAPS, {"metadata": {"name": "m"}}) for _ in range(10)))
        assert {answer.status for answer in again} <= {403, 409}
        quota = (await ask("GET", f"{QUOTAS}/q0")).obj
        assert quota["status"]["used"] == {"count/configmaps": "1"}
        assert (await ask("POST", MAPS, {"metadata": {"name": "n"}})).status == 201


async def test_what_is_seen_of_one_resource_says_nothing_of_another(
    ask: Any, server: Server, running_controller: Callable[[Server], Any]
) -> None:
    """A quota of two resources of which one rests: its count is as old as the last change of it, the other's is not."""
    async with running_controller(server):
        hard = {"count/configmaps": "3", "count/secrets": "3"}
        await ask("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}})
        await settled(ask, "q", **{"count/configmaps": "0", "count/secrets": "0"})
        for turn in range(4):
            for name in ("a", "b", "c"):
                assert (await ask("POST", MAPS, {"metadata": {"name": f"{name}{turn}"}})).status == 201
            for name in ("a", "b", "c"):
                await ask("DELETE", f"{MAPS}/{name}{turn}")
            await settled(ask, "q", **{"count/configmaps": "0", "count/secrets": "0"})


async def test_a_rehearsal_counts_nothing_and_is_refused_like_the_real_thing(
    ask: Any, server: Server, running_controller: Callable[[Server], Any]
) -> None:
    async with running_controller(server):
        await make_quotas(ask, 1)
        rehearsal = await ask("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "m"}})
        assert rehearsal.status == 201
        assert (await ask("GET", f"{QUOTAS}/q0")).obj["status"]["used"] == {"count/configmaps": "0"}
        await ask("POST", MAPS, {"metadata": {"name": "m"}})
        refused = await ask("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "n"}})
        assert refused.message == (
            'configmaps "n" is forbidden: exceeded quota: q0, requested: count/configmaps=1, '
            "used: count/configmaps=1, limited: count/configmaps=1"
        )
