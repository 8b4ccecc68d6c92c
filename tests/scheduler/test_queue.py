"""The scheduling queue under virtual time."""

import asyncio
import random

import pytest

from sampan.scheduler.plugins.queueing import PrioritySort
from sampan.scheduler.queue import Place, SchedulingQueue


@pytest.fixture
def run(virtual):
    def call(scenario):
        async def body():
            queue = SchedulingQueue(PrioritySort().sort_key)
            try:
                await scenario(queue, asyncio.get_running_loop().time)
            finally:
                queue.check_invariants()
                queue.close()

        virtual(body())

    return call


def test_higher_priority_comes_first_then_the_older(run, pod):
    async def scenario(queue, now):
        for name, priority in (("low", 1), ("first", 5), ("second", 5)):
            queue.add(pod(name, priority=priority))
            await asyncio.sleep(0.001)
        assert [(await queue.pop()).pod.name for _ in range(3)] == ["first", "second", "low"]

    run(scenario)


def test_a_pod_that_appears_is_taken_at_once(run, pod):
    async def scenario(queue, now):
        waiting = asyncio.ensure_future(queue.pop())
        await asyncio.sleep(0)
        before = now()
        queue.add(pod("a"))
        assert (await waiting).pod.name == "a"
        assert now() - before < 0.1

    run(scenario)


def test_an_unschedulable_pod_waits_until_something_changes(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a"))
        item = await queue.pop()
        queue.failed(item, frozenset(("NodeResourcesFit",)))
        assert queue.pop_nowait() is None
        queue.requeue(item)
        assert (await queue.pop()) is item

    run(scenario)


def test_it_is_tried_again_after_five_minutes_anyway(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a"))
        queue.failed(await queue.pop(), frozenset(("NodeResourcesFit",)))
        before = now()
        await queue.pop()
        assert 300 <= now() - before < 301

    run(scenario)


def test_a_pod_in_back_off_lets_others_go_first(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a", priority=9))
        item = await queue.pop()
        queue.failed(item, frozenset(("X",)))
        queue.requeue(item)
        queue.add(pod("b"))
        assert (await queue.pop()).pod.name == "b"
        assert item.place is Place.BACKOFF
        assert (await queue.pop()) is item

    run(scenario)


def test_errors_back_off_from_one_second_to_ten(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a"))
        waits = []
        item = await queue.pop()
        for _ in range(6):
            queue.errored(item)
            before = now()
            item = await queue.pop()
            waits.append(round(now() - before))
        assert waits == [1, 2, 4, 8, 10, 10]

    run(scenario)


def test_a_gated_pod_enters_when_its_gates_are_gone(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a"), gated=True)
        assert queue.pop_nowait() is None
        queue.add(pod("a"))
        assert (await queue.pop()).pod.name == "a"

    run(scenario)


def test_a_pod_that_waits_is_not_taken_once_it_is_gated(run, pod):
    async def scenario(queue, now):
        queue.add(pod("p"))
        queue.add(pod("p"), gated=True)
        queue.check_invariants()
        assert queue.pop_nowait() is None
        queue.add(pod("p"))
        assert queue.pop_nowait().pod.name == "p"

    run(scenario)


def test_a_removed_pod_is_not_taken(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a"))
        queue.remove("uid-a")
        assert queue.pop_nowait() is None

    run(scenario)


def test_an_update_while_it_is_tried_is_not_lost(run, pod):
    async def scenario(queue, now):
        queue.add(pod("a"))
        item = await queue.pop()
        queue.add(pod("a", cpu="1"))
        queue.failed(item, frozenset(("X",)))
        assert item.pod.requests["cpu"] == 1000

    run(scenario)


def test_whatever_happens_no_pod_is_lost(run, pod):
    async def scenario(queue, now):
        rng = random.Random(3)
        taken = []
        for number in range(400):
            match rng.randrange(6):
                case 0 | 1:
                    queue.add(pod(f"p{rng.randrange(30)}"))
                case 2 if (item := queue.pop_nowait()) is not None:
                    taken.append(item)
                case 3 if taken:
                    queue.failed(taken.pop(), frozenset(("X",)))
                case 4 if taken:
                    queue.errored(taken.pop())
                case _:
                    for item in [item for group in queue.unschedulable() for item in group]:
                        queue.requeue(item)
            queue.check_invariants()
            await asyncio.sleep(rng.random() if number % 5 == 0 else 0)

    run(scenario)
