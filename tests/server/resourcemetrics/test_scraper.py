"""Looks at nodes: each by itself, sooner where something is new, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.server.resourcemetrics.conftest import Agent, answer

from sampan.api.clock import SystemClock
from sampan.api.resources import NODES
from sampan.api.transport import Call
from sampan.server.resourcemetrics import scraper as scraping
from sampan.server.resourcemetrics.scraper import Scraper
from sampan.testing.api import Api, api_server


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with api_server() as made:
        yield made


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while not (found := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return found


def text(seconds: float) -> bytes:
    """A node that has used so many seconds, and measured it when it was asked."""
    return answer(f"node_cpu_usage_seconds_total {seconds}\nnode_memory_working_set_bytes 1024\n".encode())


async def add_node(api: Api, name: str, agent: Agent, address: str = "127.0.0.1") -> None:
    status = {
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port}},
    }
    node = {"metadata": {"name": name}, "status": status}
    await api.client.transport.call(Call("POST", NODES.path(), body=node))


@asynccontextmanager
async def looking(api: Api, *, wanted: Callable[[], bool] = lambda: True, **more: Any) -> AsyncIterator[Scraper]:
    usual = {"round_seconds": 0.03, "soon_seconds": 0.03, "answer_seconds": 20.0}
    made = Scraper(api.server.reader, None, SystemClock(), wanted, **{**usual, **more})
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def any_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait for windows that mean something."""
    monkeypatch.setattr("sampan.api.nodes.usage.LEAST_WINDOW_SECONDS", 0.0001)


def known(scraper: Scraper, node: str) -> Any:
    looks = scraper.looks(node)
    return looks.node() if looks is not None else None


async def test_two_looks_tell_what_a_node_uses(api: Api, agent: Agent) -> None:
    agent.answers = [text(100), text(200)]
    await add_node(api, "n", agent)
    async with looking(api) as scraper:
        rate = await until(lambda: known(scraper, "n"))
    assert rate.nano_cores == pytest.approx(100e9 / rate.window_seconds, rel=1e-6)
    assert rate.memory_bytes == 1024
    assert agent.asked[0] == "/metrics/resource"


async def test_a_node_that_comes_later_is_looked_at_and_one_that_goes_is_forgotten(api: Api, agent: Agent) -> None:
    agent.answers = [text(1)]
    async with looking(api) as scraper:
        await add_node(api, "n", agent)
        await until(lambda: known(scraper, "n"))
        await api.client.delete(NODES, "n")
        await until(lambda: scraper.looks("n") is None)
        await until(lambda: not scraper._tasks)


async def test_what_was_seen_once_is_looked_at_again_soon(api: Api, agent: Agent) -> None:
    agent.answers = [text(1)]
    await add_node(api, "n", agent)
    async with looking(api, round_seconds=3600) as scraper:
        await until(lambda: known(scraper, "n"))
        assert len(agent.asked) == 2


@pytest.mark.parametrize("lanes", [1, 2])
async def test_silent_nodes_hold_up_no_other(
    api: Api, agent: Agent, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    """Many more than are asked at a time; each is given up after a while, and from then on has a lane with its like."""
    monkeypatch.setattr(scraping, "_TOGETHER", lanes)
    monkeypatch.setattr(scraping, "_SILENT_TOGETHER", 1)
    silent = Agent()
    silent.answers = [None]
    await silent.start()
    try:
        for number in range(6):
            await add_node(api, f"silent-{number}", silent)
        agent.answers = [text(1)]
        async with looking(api, answer_seconds=0.1) as scraper:
            await until(lambda: scraper.failures >= 6)
            await add_node(api, "well", agent)
            await until(lambda: known(scraper, "well"))
            failures, asked = scraper.failures, len(agent.asked)
            await until(lambda: scraper.failures > failures)
            await until(lambda: len(agent.asked) >= asked + 3)
    finally:
        await silent.stop()


async def test_a_node_that_fails_is_asked_again(api: Api, agent: Agent) -> None:
    agent.answers = [answer(b"", status="500 Internal Server Error"), text(1)]
    await add_node(api, "n", agent)
    async with looking(api) as scraper:
        await until(lambda: known(scraper, "n"))
        assert scraper.failures == 1


async def test_names_are_not_looked_up(api: Api, agent: Agent) -> None:
    """A node that says names whose servers take their time would hold the threads that all look-ups share."""
    agent.answers = [text(1)]
    await add_node(api, "n", agent, "localhost")
    async with looking(api) as scraper:
        await until(lambda: scraper.failures > 1)
        assert agent.asked == []


async def test_nobody_is_asked_while_nobody_could_want_to_know(api: Api, agent: Agent) -> None:
    agent.answers = [text(1)]
    await add_node(api, "n", agent)
    wanted, rounds = False, 0

    def is_wanted() -> bool:
        nonlocal rounds
        rounds += 1
        return wanted

    async with looking(api, wanted=is_wanted) as scraper:
        await until(lambda: rounds > 3)
        assert agent.asked == []
        wanted = True
        await until(lambda: known(scraper, "n"))
        wanted = False
        await until(lambda: scraper.looks("n") is None)


async def test_what_is_old_says_nothing(api: Api, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.answers = [text(1)]
    await add_node(api, "n", agent)
    async with looking(api) as scraper:
        await until(lambda: known(scraper, "n"))
    assert scraper.looks("n") is not None
    monkeypatch.setattr(scraping, "STALE_SECONDS", -1.0)
    assert scraper.looks("n") is None


@pytest.mark.logs_errors("node n was not looked at")
async def test_a_fault_of_ours_costs_one_look(api: Api, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str, now: float) -> Any:
        monkeypatch.undo()
        monkeypatch.setattr("sampan.api.nodes.usage.LEAST_WINDOW_SECONDS", 0.0001)
        raise RuntimeError("a fault")

    monkeypatch.setattr(scraping, "parse", broken)
    agent.answers = [text(1)]
    await add_node(api, "n", agent)
    async with looking(api) as scraper:
        await until(lambda: known(scraper, "n"))
        assert scraper.failures == 1
