"""One time for everything: the loop's, real or virtual, and a time of day that agrees with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sampan.api.clock import FixedClock, SystemClock
from sampan.client.timeline import Timeline, VirtualTimeline
from sampan.testing import virtual

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_in_virtual_time_durations_and_the_time_of_day_agree() -> None:
    async def live() -> tuple[float, datetime]:
        timeline = VirtualTimeline(START)
        began = timeline.monotonic()
        await timeline.sleep(3600)
        await asyncio.sleep(60)
        return timeline.monotonic() - began, timeline.now()

    assert virtual.run(live()) == (3660, START + timedelta(seconds=3660))


def test_timers_come_in_order_and_at_their_moments() -> None:
    async def live() -> list[tuple[str, float]]:
        timeline = VirtualTimeline(START)
        told: list[tuple[str, float]] = []
        for name, seconds in (("late", 300.0), ("early", 5.0), ("never", 400.0)):
            handle = timeline.call_at(seconds, lambda name=name: told.append((name, timeline.monotonic())))  # type: ignore[misc]
        handle.cancel()
        await timeline.sleep(500)
        return told

    assert virtual.run(live()) == [("early", 5.0), ("late", 300.0)]


def test_a_wait_ends_with_its_event_or_its_time() -> None:
    async def live() -> tuple[bool, bool, float]:
        timeline, event = Timeline(), asyncio.Event()
        timed_out = await timeline.wait(event, 100)
        timeline.call_at(150, event.set)
        return timed_out, await timeline.wait(event, 100), timeline.monotonic()

    assert virtual.run(live()) == (False, True, 150)


def test_what_threads_do_takes_no_virtual_time() -> None:
    """It is done on the loop, at the turn at which it was given to a thread: always the same one."""

    async def live() -> tuple[list[str], float]:
        told: list[str] = []

        async def sleeper() -> None:
            await asyncio.sleep(1000)
            told.append("timer")

        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper())
            group.create_task(asyncio.to_thread(told.append, "thread"))
        return told, asyncio.get_running_loop().time()

    assert virtual.run(live()) == (["thread", "timer"], 1000)


def test_what_fails_in_a_thread_fails_for_who_waits() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        virtual.run(asyncio.to_thread(int, "x"))


def test_any_clock_becomes_a_timeline_and_a_timeline_stays_what_it_is() -> None:
    fixed, made = FixedClock(START), VirtualTimeline(START)
    assert Timeline.of(fixed).now() == START
    assert Timeline.of(made) is made
    assert abs(Timeline().now() - SystemClock().now()) < timedelta(minutes=1)
