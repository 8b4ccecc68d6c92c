"""Giving memory back: only after work, and whatever the store says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.resident import trim
from sampan.store.footprint import Footprint
from sampan.store.memory import MemoryStore
from sampan.store.protocol import StoreUnavailable


class Processor:
    seconds = 0.0

    def used(self) -> float:
        return self.seconds


async def test_an_idle_process_is_left_alone_and_a_busy_one_gives_back() -> None:
    processor, calls = Processor(), []
    footprint = Footprint(MemoryStore(), trim=lambda: calls.append(1), used_seconds=processor.used)
    assert not await footprint.give_back()
    processor.seconds = 1
    assert await footprint.give_back()
    assert not await footprint.give_back()
    assert calls == [1]


async def test_a_store_that_cannot_shrink_does_not_keep_the_rest() -> None:
    class Closed(MemoryStore):
        async def shrink(self) -> None:
            raise StoreUnavailable("the store is closed")

    processor, calls = Processor(), []
    footprint = Footprint(Closed(), trim=lambda: calls.append(1), used_seconds=processor.used)
    processor.seconds = 1
    assert await footprint.give_back()
    assert calls == [1]


async def test_it_goes_on_until_it_is_cancelled() -> None:
    processor, again = Processor(), asyncio.Event()
    calls: list[int] = []

    def trimmed() -> None:
        calls.append(1)
        if len(calls) == 3:
            loop.call_soon_threadsafe(again.set)

    def used() -> float:
        processor.seconds += 1
        return processor.seconds

    loop = asyncio.get_running_loop()
    footprint = Footprint(MemoryStore(), interval_seconds=0, trim=trimmed, used_seconds=used)
    task = asyncio.ensure_future(footprint.run())
    await again.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_nobody_asks_for_is_forgotten_in_an_idle_process_too() -> None:
    calls: list[int] = []
    forgotten = asyncio.Event()

    def forget() -> None:
        calls.append(1)
        if len(calls) == 3:
            forgotten.set()

    footprint = Footprint(MemoryStore(), forget=forget, interval_seconds=0, used_seconds=Processor().used)
    task = asyncio.ensure_future(footprint.run())
    await forgotten.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.every_store
async def test_every_store_shrinks_and_works_on(store: Any) -> None:
    first = await store.commit("/a", 0, b"1")
    await store.shrink()
    await store.commit("/a", first, b"2")
    assert (await store.get("/a", revision=first)).value == b"1"
    trim()
    assert (await store.get("/a")).value == b"2"
