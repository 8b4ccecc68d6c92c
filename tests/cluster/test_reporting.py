"""What a process says of its components: to ``sampan status`` and the supervisor by a file, to users by Events."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.client.client import Client
from sampan.cluster import reporting
from sampan.cluster.heartbeat import ComponentSeen, health_file, read_health
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.reporting import Reporter
from sampan.cluster.status import ProcessSeen, Seen
from sampan.keeping import Keeper, Patience

CLOCK = FixedClock(datetime(2026, 11, 28, tzinfo=UTC))


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(ClusterSettings("one"), tmp_path / "state", tmp_path / "run", NodeSettings("n1"))


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with Keeper(patience=Patience(first_seconds=0.0), clock=CLOCK) as made:
        yield made


class FailsOnce:
    def __init__(self) -> None:
        self.lives = 0
        self.steady = asyncio.Event()

    async def run(self) -> None:
        self.lives += 1
        if self.lives == 1:
            raise RuntimeError("x")
        self.steady.set()
        await asyncio.get_running_loop().create_future()


class Api:
    """Takes what is created."""

    def __init__(self) -> None:
        self.created: list[Any] = []
        self.first = asyncio.Event()

    def cache_view(self, resource: object) -> None:
        return None

    async def call(self, call: Any) -> Any:
        self.created.append(call.body)
        self.first.set()
        return call.body


@pytest.mark.logs_errors("c failed")
async def test_only_what_failed_is_in_the_file(instance: Instance, keeper: Keeper) -> None:
    Reporter(instance, "server", keeper, CLOCK)
    component, healthy = FailsOnce(), FailsOnce()
    healthy.lives = 1
    keeper.keep("healthy", healthy.run)
    keeper.keep("c", component.run)
    await component.steady.wait()
    seen = read_health(instance, "server")
    assert seen is not None and (seen.pid, seen.components) == (os.getpid(), 2)
    assert seen.failed == (ComponentSeen("c", True, 1, "an internal error; the log has it"),)


@pytest.mark.logs_errors("scheduler failed")
async def test_a_failure_is_an_event_of_the_node(instance: Instance, keeper: Keeper) -> None:
    api = Api()
    Reporter(instance, "server", keeper, CLOCK).report_with(Client(api))  # type: ignore[arg-type]  # what is used of it
    keeper.keep("scheduler", FailsOnce().run)
    await api.first.wait()
    (event,) = api.created
    assert event["involvedObject"] == {"kind": "Node", "name": "n1", "uid": "n1"}
    assert (event["type"], event["reason"]) == ("Warning", "ComponentFailed")
    assert event["message"] == "scheduler failed and is started again: an internal error; the log has it"
    assert event["source"] == {"component": "sampan-server", "host": "n1"}


async def test_the_beat_goes_on_when_the_directory_is_emptied(
    instance: Instance, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "BEAT_SECONDS", 0.001)
    keeper.keep("heartbeat", Reporter(instance, "node", keeper, CLOCK).beat)
    path = health_file(instance, "node")

    async def next_beat() -> int:
        before = read_health(instance, "node")
        while (now := read_health(instance, "node")) is None or now == before:  # noqa: ASYNC110 (the file system)
            await asyncio.sleep(0.001)
        return now.beat_ns

    async with asyncio.timeout(30):
        first = await next_beat()
        assert await next_beat() > first
        path.unlink()
        path.parent.rmdir()
        assert await next_beat() > first


def test_what_cannot_be_read_is_no_news(instance: Instance) -> None:
    assert read_health(instance, "node") is None
    path = health_file(instance, "node")
    path.parent.mkdir(parents=True)
    for damaged in ("", "{", "[]", '{"pid": 1}', '{"pid": 1, "components": 2, "failed": [3]}'):
        path.write_text(damaged)
        assert read_health(instance, "node") is None


@pytest.mark.parametrize("running", [True, False])
def test_a_cluster_is_healthy_when_what_failed_runs_again(running: bool) -> None:
    part = ComponentSeen("scheduler", running, 3, "x")
    process = ProcessSeen("server", 1, 0, 0, "", (part,))
    assert Seen(True, (process,), True, True, "", 0, 0).healthy is running
