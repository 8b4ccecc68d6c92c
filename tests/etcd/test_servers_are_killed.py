"""API servers that share an etcd, as processes: each is killed under load, and clients that retry notice little."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from etcd_members import running
from ha_load import NAMESPACE, Load, servers

from sampan.api.clock import FixedClock
from sampan.api.errors import ApiError
from sampan.api.resources import CONFIG_MAPS
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore

log = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(300)

PREFIX = f"/registry/core/configmaps/{NAMESPACE}/c"
#: kills, and how long the load goes on after each
ROUNDS = int(os.environ.get("SAMPAN_TEST_SERVER_KILLS", "3"))
SECONDS = 2.0
#: "back within 3 s", on a machine that does nothing else; the tests' machine does
LONGEST_SECONDS = 3.0 * float(os.environ.get("SAMPAN_TEST_PATIENCE", "3"))


async def history(endpoints: tuple[str, ...], prefix: str) -> list[tuple[int, dict[str, Any]]]:
    """Every state of what is there, with its revision."""
    settings = EtcdSettings(endpoints=endpoints, prefix="/registry", strip="/registry")
    store = await EtcdStore.open(settings, clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    try:
        found, after = [], store.oldest
        while changes := await store.changes(prefix, after, store.revision, 1000):
            found += [(change.revision, orjson.loads(change.entry.value)) for change in changes if change.entry]
            after = changes[-1].revision
        return found
    finally:
        await store.close()


async def happened(endpoints: tuple[str, ...]) -> list[tuple[int, str, int]]:
    """Every change of the writers' objects: revision, name and number."""
    states = await history(endpoints, PREFIX)
    return [(revision, obj["metadata"]["name"], int(obj["data"]["n"])) for revision, obj in states]


async def test_killed_servers_cost_no_write_no_event_and_little_time(tmp_path: Path) -> None:
    async with running(tmp_path) as members, servers(3, members.endpoints, tmp_path) as started:
        load = Load([each.url for each in started])
        async with load.running(writers=4, readers=2, watchers=3) as seen:
            await asyncio.sleep(SECONDS)
            for number in range(ROUNDS):
                victim = started[number % len(started)]
                await victim.kill()
                await asyncio.sleep(SECONDS)
                await victim.start()
        truth = await happened(members.endpoints)
        log.info(
            "%d writes, %d reads, %d to be looked after; the longest that a client waited: %.2f s",
            *(seen.writes, seen.reads, seen.unknown, seen.gap_seconds),
        )
        assert seen.faults == []
        assert seen.writes > 10 * ROUNDS
        for place, told in seen.told.items():
            assert told == truth, place
        assert {name: number for _, name, number in truth} == seen.acknowledged
        assert seen.gap_seconds < LONGEST_SECONDS


async def test_when_the_leaders_process_is_killed_another_acts_within_twenty_seconds_and_nobody_else(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as members, servers(3, members.endpoints, tmp_path) as started:
        load = Load([each.url for each in started])
        client = load.client("onlooker")
        loop = asyncio.get_running_loop()

        async def acting() -> str:
            try:
                return str((await client.get(CONFIG_MAPS, "acts", NAMESPACE))["data"]["by"])
            except ApiError:
                return ""

        async with asyncio.timeout(30):
            while not (first := await acting()):  # noqa: ASYNC110  # of the API
                await asyncio.sleep(0.05)
        killed_at = loop.time()
        await started[int(first[len("host")]) - 1].kill()
        async with asyncio.timeout(60):
            while (second := await acting()) in ("", first):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        took = loop.time() - killed_at
        log.info("another leads after %.1f s", took)
        await asyncio.sleep(1)
        acts = [
            obj["data"]["by"]
            for _, obj in await history(members.endpoints, f"/registry/core/configmaps/{NAMESPACE}/acts")
        ]
        await load.close()
    assert acts == [first] * acts.count(first) + [second] * acts.count(second), "one after the other"
    assert took < 20 + LONGEST_SECONDS
