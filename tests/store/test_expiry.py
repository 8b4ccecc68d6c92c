"""The moments at which entries end: in order, never early, and no more of them kept than there are entries."""

import asyncio
import random

import pytest

from sampan.store.expiry import Expiries, ExpiryTimer
from sampan.testing import virtual


def test_keys_are_due_in_the_order_of_their_ends() -> None:
    expiries = Expiries([("b", 2000)])
    expiries.set("a", 3000)
    expiries.set("c", 1000)
    assert expiries.next_ms() == 1000
    assert expiries.due(2500, 10) == ["c", "b"]
    assert expiries.due(2500, 10) == []
    assert expiries.due(3000, 10) == ["a"]
    assert len(expiries) == 0


def test_no_more_than_asked_for_are_due_and_the_others_stay() -> None:
    expiries = Expiries((f"k{n}", 1000) for n in range(5))
    found = [expiries.due(1000, 2) for _ in range(4)]
    assert [len(keys) for keys in found] == [2, 2, 1, 0]
    assert sorted(key for keys in found for key in keys) == [f"k{n}" for n in range(5)]


def test_the_last_end_that_was_set_holds() -> None:
    expiries = Expiries()
    for at_ms in (1000, 3000, 2000, 2000):
        expiries.set("a", at_ms)
    expiries.set("gone", 500)
    expiries.set("gone", 0)
    assert expiries.due(1999, 10) == []
    assert expiries.due(2000, 10) == ["a"]
    assert expiries.next_ms() is None


@pytest.mark.parametrize("at_ms", [1, 249, 250, 251, 999, 1_800_000_000_123])
def test_nothing_ends_early_or_more_than_a_quarter_of_a_second_late(at_ms: int) -> None:
    expiries = Expiries([("a", at_ms)])
    assert expiries.due(at_ms - 1, 10) == []
    assert expiries.due(at_ms + 249, 10) == ["a"]


def test_a_key_that_is_written_again_and_again_costs_no_memory() -> None:
    expiries = Expiries()
    chance = random.Random(1)
    for n in range(5000):
        expiries.set(f"k{chance.randrange(10)}", 1000 * (n + 3600))
    assert len(expiries._heap) <= 2 * len(expiries) + 65
    assert len(expiries._ticks) <= len(expiries) == 10


async def test_whoever_lets_end_what_another_is_at_comes_back_when_it_has_gone() -> None:
    gone: list[str] = []
    go = asyncio.Event()

    async def delete(keys: list[str]) -> list[str]:
        await go.wait()
        gone.extend(keys)
        return []

    timer = ExpiryTimer(Expiries([("a", 1000)]), lambda: 2000, delete)
    first, second = asyncio.ensure_future(timer.run()), asyncio.ensure_future(timer.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    go.set()
    await second
    assert gone == ["a"]
    await first


@pytest.mark.parametrize(("look_again_seconds", "looks"), [(60.0, 60), (24 * 3600.0, 1)])
def test_a_clock_that_nobody_can_set_forward_is_looked_at_when_something_ends(
    look_again_seconds: float, looks: int
) -> None:
    fired: list[float] = []

    class Counted(ExpiryTimer):
        def _fire(self) -> None:
            fired.append(asyncio.get_running_loop().time())
            super()._fire()

    async def an_hour() -> list[str]:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        gone: list[str] = []

        async def expire(keys: list[str]) -> list[str]:
            gone.extend(keys)
            ended.set()
            return []

        expiries = Expiries([("a", 3_600_000)])
        timer = Counted(expiries, lambda: int(loop.time() * 1000), expire, look_again_seconds=look_again_seconds)
        timer.arm()
        await ended.wait()
        timer.close()
        return gone

    assert virtual.run(an_hour()) == ["a"]
    assert abs(len(fired) - looks) <= 1
    assert fired[-1] == pytest.approx(3600, abs=1)
