"""The time of requests, kept by one timer: it ends them, leaves nothing behind, and is nobody else's cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.server.deadlines import Deadlines


def test_work_that_takes_too_long_is_ended(virtual: Any) -> None:
    virtual(_ended())


async def _ended() -> None:
    deadlines, ended = Deadlines(), False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    started = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await deadlines.within(10, work())
    assert ended
    assert 10 <= asyncio.get_running_loop().time() - started <= 11.5
    assert len(deadlines) == 0
    await asyncio.sleep(5)  # and the task goes on afterwards


def test_work_in_time_is_left_alone(virtual: Any) -> None:
    virtual(_left_alone())


async def _left_alone() -> None:
    deadlines = Deadlines()

    async def work() -> str:
        await asyncio.sleep(3)
        return "done"

    assert await deadlines.within(10, work()) == "done"
    await asyncio.sleep(20)
    assert len(deadlines) == 0


def test_a_client_that_goes_away_is_no_timeout(virtual: Any) -> None:
    virtual(_goes_away())


async def _goes_away() -> None:
    deadlines = Deadlines()
    task = asyncio.ensure_future(deadlines.within(10, asyncio.Event().wait()))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(deadlines) == 0


async def test_a_request_that_takes_too_long_is_504_and_counts_no_longer(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.deadlines.TICK_SECONDS", 0.01)
    pipeline = api.server._pipeline
    pipeline._limits.write_timeout_seconds = 0.05

    async def stuck(request: Any) -> Any:
        await asyncio.Event().wait()

    pipeline._stages.resources = stuck
    answer = await api("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    assert (answer.status, answer.reason) == (504, "Timeout")
    assert (pipeline.reads, pipeline.writes, len(pipeline._deadlines)) == (0, 0, 0)
