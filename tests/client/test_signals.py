"""``Signal`` does what ``asyncio.Event`` does: the same steps on both leave the same waiters awake."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from sampan.client import tasks
from sampan.client.signal import Signal

#: of memory, one of the standard library has more in its deque alone
MOST_BYTES = 80


async def what_happens(seed: int, signal: Signal | asyncio.Event) -> list[str]:
    chance, told = random.Random(seed), list[str]()

    async def wait(name: str) -> None:
        await signal.wait()
        told.append(name)

    waiting: list[asyncio.Task[None]] = []
    for step in range(60):
        match chance.choice(("wait", "wait", "set", "clear", "cancel", "turn")):
            case "wait":
                waiting.append(asyncio.create_task(wait(f"{step}")))
            case "set":
                signal.set()
            case "clear":
                signal.clear()
            case "cancel" if waiting:
                waiting.pop(chance.randrange(len(waiting))).cancel()
            case _:
                await asyncio.sleep(0)
        told.append(f"{step}: {signal.is_set()}")
    await tasks.cancel_and_wait(*waiting)
    return told


@pytest.mark.parametrize("seed", range(20))
async def test_waiters_go_on_as_those_of_an_event_do(seed: int) -> None:
    assert await what_happens(seed, Signal()) == await what_happens(seed, asyncio.Event())


async def test_one_that_nobody_waits_for_is_small_again_after_it_was_waited_for() -> None:
    signal = Signal()
    await tasks.cancel_and_wait(asyncio.create_task(signal.wait()))
    asyncio.get_running_loop().call_soon(signal.set)
    await signal.wait()
    assert sum(sys.getsizeof(each) for each in (signal, signal._waiters)) < MOST_BYTES
