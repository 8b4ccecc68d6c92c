"""Channels: followers with the same question get every event once, in order, encoded once for all of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from sampan.api.types import Obj
from sampan.store.cache import CacheEvent, Channel, WatchCache
from sampan.store.memory import MemoryStore

PREFIX = "/registry/core/pods/"


def describe(obj: Obj) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return obj.get("labels", {}), {"node": obj.get("node", "")}


def decode(value: bytes, revision: int) -> Obj:
    return {**orjson.loads(value), "rv": revision}


def red(entry: Any) -> bool:
    return bool(entry.labels.get("color") == "red")


class Batch:
    made = 0

    def __init__(self, data: bytes) -> None:
        Batch.made += 1
        self.data = data


class Follower:
    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def push(self, batch: Batch) -> None:
        self.batches.append(batch)

    @property
    def lines(self) -> list[str]:
        return b"".join(batch.data for batch in self.batches).decode().split()


class Encoder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, event: CacheEvent) -> bytes:
        self.calls += 1
        return f"{event.type}:{event.entry.key.removeprefix(PREFIX)}@{event.revision}\n".encode()


async def put(store: Any, key: str, color: str = "red", node: str = "") -> int:
    value = orjson.dumps({"labels": {"color": color}, "node": node})
    revision: int = await store.commit(PREFIX + key, None, value)
    return revision


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def cache(store: MemoryStore) -> WatchCache:
    made = WatchCache(store, PREFIX, describe, decode, batch=Batch)
    await made.start()
    return made


def everything(cache: WatchCache, encode: Any = None, ident: Any = "all", **more: Any) -> Channel:
    arguments: dict[str, Any] = {"prefix": None, "key": None, "selector": None, **more}
    return cache.channel(ident, encode=encode or Encoder(), **arguments)


async def tick() -> None:
    await asyncio.sleep(0)


async def test_an_event_is_encoded_once_and_one_batch_goes_to_all(store: MemoryStore, cache: WatchCache) -> None:
    encode, followers = Encoder(), [Follower() for _ in range(3)]
    for follower in followers:
        everything(cache, encode).join(follower, 0)
    await put(store, "ns/a")
    await tick()
    assert encode.calls == 1
    assert {id(follower.batches[0]) for follower in followers} == {id(followers[0].batches[0])}
    assert followers[0].lines == ["ADDED:ns/a@1"]


async def test_what_happens_in_one_turn_of_the_loop_is_one_batch(store: MemoryStore, cache: WatchCache) -> None:
    follower = Follower()
    everything(cache).join(follower, 0)
    for _ in range(5):
        await put(store, "ns/a")
    assert follower.batches == []
    await tick()
    assert len(follower.batches) == 1
    assert len(follower.lines) == 5
    await tick()
    assert len(follower.batches) == 1


async def test_a_lot_does_not_wait_for_the_end_of_the_turn(store: MemoryStore, cache: WatchCache) -> None:
    follower = Follower()
    everything(cache, lambda event: b"x" * 100_000).join(follower, 0)
    for _ in range(7):
        await put(store, "ns/a")
    assert [len(batch.data) for batch in follower.batches] == [300_000, 300_000]
    await tick()
    assert len(follower.batches) == 3


async def test_a_follower_that_joins_gets_the_past_at_once_and_nothing_twice(
    store: MemoryStore, cache: WatchCache
) -> None:
    early, late = Follower(), Follower()
    channel = everything(cache)
    channel.join(early, 0)
    for name in ("a", "b", "c"):
        await put(store, f"ns/{name}")
    channel.join(late, 1)  # in the same turn, before the channel has sent anything
    assert late.lines == ["ADDED:ns/b@2", "ADDED:ns/c@3"]
    await put(store, "ns/d")
    await tick()
    assert early.lines == ["ADDED:ns/a@1", *late.lines]
    assert late.lines[-1] == "ADDED:ns/d@4"


async def test_selector_namespace_and_key_hold_for_the_past_and_for_what_comes(
    store: MemoryStore, cache: WatchCache
) -> None:
    async def change() -> None:
        await put(store, "ns/a", "red")
        await put(store, "ns/a", "blue")
        await put(store, "ns/b", "blue")
        await put(store, "other/a", "red")

    kinds: dict[str, dict[str, Any]] = {
        "red": {"selector": red},
        "space": {"prefix": f"{PREFIX}ns/"},
        "one": {"key": f"{PREFIX}other/a"},
    }
    wanted = {
        "red": ["ADDED:ns/a@1", "DELETED:ns/a@2", "ADDED:other/a@4"],
        "space": ["ADDED:ns/a@1", "MODIFIED:ns/a@2", "ADDED:ns/b@3"],
        "one": ["ADDED:other/a@4"],
    }
    live = {name: Follower() for name in kinds}
    for name, follower in live.items():
        everything(cache, ident=name, **kinds[name]).join(follower, 0)
    await change()
    await tick()
    past = {name: Follower() for name in kinds}
    for name, follower in past.items():
        everything(cache, ident=f"{name} again", **kinds[name]).join(follower, 0)
    assert {name: follower.lines for name, follower in live.items()} == wanted
    assert {name: follower.lines for name, follower in past.items()} == wanted


async def test_channels_of_one_field_value_are_not_asked_about_others(store: MemoryStore, cache: WatchCache) -> None:
    asked: list[str] = []

    def on(node: str) -> Any:
        def select(entry: Any) -> bool:
            asked.append(node)
            return bool(entry.fields["node"] == node)

        return select

    followers = {node: Follower() for node in ("n1", "n2", "n3")}
    for node, follower in followers.items():
        everything(cache, ident=node, selector=on(node), only=("node", node)).join(follower, 0)
    await put(store, "ns/a", node="n1")
    await put(store, "ns/a", node="n2")
    await tick()
    assert followers["n1"].lines == ["ADDED:ns/a@1", "DELETED:ns/a@2"]
    assert followers["n2"].lines == ["ADDED:ns/a@2"]
    assert "n3" not in asked


async def test_joining_further_back_than_the_ring_is_refused_and_can_be_done_at_a_watchs_position(
    store: MemoryStore,
) -> None:
    cache = WatchCache(store, PREFIX, describe, decode, ring=2, batch=Batch)
    await cache.start()
    for _ in range(6):
        await put(store, "ns/a")
    follower, channel = Follower(), everything(cache)
    assert channel.join(follower, 1) is None
    watch = cache.watch(from_revision=1)
    while watch.position < cache.revision:
        await anext(watch)
    assert channel.join(follower, watch.position) is not None
    watch.close()
    await put(store, "ns/a")
    await tick()
    assert follower.lines == ["MODIFIED:ns/a@7"]


@pytest.mark.logs_errors("a follower failed and is dropped")
async def test_a_follower_that_fails_is_dropped_alone(
    store: MemoryStore, cache: WatchCache, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Follower):
        def push(self, batch: Batch) -> None:
            super().push(batch)
            raise RuntimeError("gone")

    failing, other = Failing(), Follower()
    channel = everything(cache)
    channel.join(failing, 0)
    channel.join(other, 0)
    for _ in range(2):
        await put(store, "ns/a")
        await tick()
    assert (len(failing.batches), len(other.batches), len(channel)) == (1, 2, 1)
    assert "is dropped" in caplog.text


@pytest.mark.logs_errors("cannot be encoded and is left out")
async def test_an_event_that_cannot_be_encoded_costs_nobody_the_others(
    store: MemoryStore, cache: WatchCache, caplog: pytest.LogCaptureFixture
) -> None:
    def encode(event: CacheEvent) -> bytes:
        if event.revision == 2:
            raise ValueError("no")
        return b"%d\n" % event.revision

    follower = Follower()
    everything(cache, encode).join(follower, 0)
    for _ in range(3):
        await put(store, "ns/a")
    await tick()
    assert follower.lines == ["1", "3"]
    assert "cannot be encoded" in caplog.text


async def test_a_channel_lives_as_long_as_someone_follows_and_may_be_joined_again(
    store: MemoryStore, cache: WatchCache
) -> None:
    channel = everything(cache)
    assert cache._channels == {}
    first, second = Follower(), Follower()
    leave = channel.join(first, 0)
    assert leave is not None
    assert everything(cache) is channel
    await put(store, "ns/a")
    leave()
    leave()
    assert (cache._channels, cache._interests.targets()) == ({}, [])
    await tick()
    assert first.batches == [], "who has left is told nothing more"
    channel.join(second, 0)
    await put(store, "ns/a")
    await tick()
    assert second.lines == ["ADDED:ns/a@1", "MODIFIED:ns/a@2"]


async def test_after_a_flush_followers_have_everything_up_to_the_caches_revision(
    store: MemoryStore, cache: WatchCache
) -> None:
    follower, channel = Follower(), everything(cache)
    channel.join(follower, 0)
    await put(store, "ns/a")
    channel.flush()
    assert follower.lines == [f"ADDED:ns/a@{cache.revision}"]


async def test_closing_the_cache_ends_its_channels(store: MemoryStore, cache: WatchCache) -> None:
    follower, channel = Follower(), everything(cache)
    channel.join(follower, 0)
    await put(store, "ns/a")
    cache.close()
    await tick()
    assert (follower.batches, len(channel)) == ([], 0)


@pytest.mark.parametrize("seed", range(20))
async def test_followers_that_come_and_go_see_exactly_what_a_watch_sees(seed: int) -> None:
    chance, store = random.Random(seed), MemoryStore()
    cache = WatchCache(store, PREFIX, describe, decode, batch=Batch)
    await cache.start()
    encode, selector = Encoder(), red if seed % 2 else None
    joined: list[tuple[int, Follower, Any]] = []
    await put(store, "ns/first")
    for _ in range(60):
        match chance.randrange(5):
            case 0:
                after, follower = chance.randrange(1, cache.revision + 1), Follower()
                joined.append((after, follower, everything(cache, encode, selector=selector).join(follower, after)))
            case 1 if joined:
                joined.pop(chance.randrange(len(joined)))[2]()
            case 2:
                await tick()
            case _:
                await put(store, f"ns/{chance.choice('abc')}", chance.choice(["red", "blue"]))
    await tick()
    for after, follower, _ in joined:
        watch, lines = cache.watch(from_revision=after, selector=selector), []
        while watch.position < cache.revision:
            lines += [encode(event).decode().strip() for event in await anext(watch)]
        assert follower.lines == lines
