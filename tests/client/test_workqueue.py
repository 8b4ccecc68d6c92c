"""The guarantees of the work queue, under virtual time."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.client.workqueue import QueueClosed, WorkQueue


async def test_key_added_twice_is_taken_once():
    queue = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_key_added_while_worked_on_waits_for_done():
    queue = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


def test_earlier_delay_wins(virtual):
    async def run():
        queue = WorkQueue()
        loop = asyncio.get_running_loop()
        start = loop.time()
        queue.add_after("a", 100)
        queue.add_after("a", 5)
        queue.add_after("a", 50)
        await queue.get()
        assert loop.time() - start == pytest.approx(5, abs=0.5)

    virtual(run())


async def test_back_off_doubles_per_key_and_is_capped():
    queue = WorkQueue()
    delays = [queue.next_delay_seconds("a") for _ in range(20)]
    assert delays[:3] == [0.005, 0.01, 0.02]
    assert delays[-1] == 1000.0
    assert queue.next_delay_seconds("b") == 0.005
    queue.forget("a")
    assert queue.next_delay_seconds("a") == 0.005


async def test_shut_down_ends_waiting_workers():
    queue = WorkQueue()
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    with pytest.raises(QueueClosed):
        await waiting


async def test_cancelled_getter_does_not_swallow_the_wake_up():
    queue = WorkQueue()
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


@settings(max_examples=40, deadline=None)  # two seconds on a slow machine
@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.sampled_from("abc"))))
def test_invariants_hold_and_no_added_key_is_lost(steps):
    async def run():
        queue, working, owed = WorkQueue(), set(), set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "get" and len(queue):
                got = await queue.get()
                assert got not in working
                working.add(got)
                owed.discard(got)
            elif step == "done" and key in working:
                working.discard(key)
                queue.done(key)
            queue.check_invariants()
        for key in list(working):
            queue.done(key)
        while len(queue):
            owed.discard(await queue.get())
        assert not owed

    asyncio.run(run())
