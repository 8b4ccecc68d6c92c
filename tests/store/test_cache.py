"""The watch cache. The numbers in names are those of the upstream bugs in which the rule was once broken."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from sampan.api.types import Obj
from sampan.store.cache import CacheWatch, WatchCache
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Compacted, EntryDamaged, FutureRevision, WatchOverflow

PREFIX = "/registry/core/pods/"


def describe(obj: Obj) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return obj.get("labels", {}), {"metadata.name": obj["name"]}


def decode(value: bytes, revision: int) -> Obj:
    return {**orjson.loads(value), "rv": revision}


def red(entry: Any) -> bool:
    return entry.labels.get("color") == "red"


async def put(store: Any, name: str, color: str = "red", namespace: str = "ns", **more: Any) -> int:
    value = orjson.dumps({"name": name, "labels": {"color": color}, **more})
    revision: int = await store.commit(f"{PREFIX}{namespace}/{name}", None, value)
    return revision


async def drop(store: Any, name: str, namespace: str = "ns") -> int:
    revision: int = await store.commit(f"{PREFIX}{namespace}/{name}", None, None)
    return revision


@pytest.fixture
async def cache(store: Any) -> WatchCache:
    made = WatchCache(store, PREFIX, describe, decode)
    await made.start()
    return made


async def take(watch: CacheWatch, count: int) -> list[tuple[str, str, int]]:
    seen: list[tuple[str, str, int]] = []
    async with asyncio.timeout(1):
        while len(seen) < count:
            seen.extend((e.type, e.entry.key.rpartition("/")[2], e.revision) for e in await anext(watch))
    return seen


def idle(watch: CacheWatch) -> bool:
    """Nothing waits in the watch."""
    return watch.position == watch._source.revision


async def test_a_write_is_visible_when_its_commit_returns(store: Any, cache: WatchCache) -> None:
    revision = await put(store, "a")
    entry = cache.get(f"{PREFIX}ns/a")
    assert entry is not None
    assert (entry.revision, cache.revision) == (revision, revision)
    assert entry.object() == {"name": "a", "labels": {"color": "red"}, "rv": revision}


async def test_entries_are_in_key_order_and_paged(store: Any, cache: WatchCache) -> None:
    for name in ("c", "a", "b"):
        await put(store, name)
    await put(store, "z", namespace="other")
    names = [e.fields["metadata.name"] for e in cache.entries(f"{PREFIX}ns/", limit=2)]
    assert names == ["a", "b"]
    assert [e.fields["metadata.name"] for e in cache.entries(f"{PREFIX}ns/", after=f"{PREFIX}ns/b")] == ["c"]
    assert cache.count() == 4


async def test_values_are_the_stores_own_bytes(store: Any, cache: WatchCache) -> None:
    await put(store, "a")
    entry, stored = cache.get(f"{PREFIX}ns/a"), await store.get(f"{PREFIX}ns/a")
    assert entry is not None
    assert entry.value is stored.value


async def test_watch_from_n_is_strictly_after_n_24004(store: Any, cache: WatchCache) -> None:
    for _ in range(3):
        await put(store, "a")
    assert await take(cache.watch(from_revision=2), 1) == [("MODIFIED", "a", 3)]
    assert idle(cache.watch(from_revision=3))


@pytest.mark.parametrize("start", [None, 0])
async def test_watch_from_nothing_begins_with_the_current_state(
    store: Any, cache: WatchCache, start: int | None
) -> None:
    await put(store, "a")
    await put(store, "b")
    watch = cache.watch(from_revision=start)
    await put(store, "a")
    assert not watch.initial_done
    assert await take(watch, 2) == [("ADDED", "a", 1), ("ADDED", "b", 2)]
    assert (watch.initial_done, watch.initial_revision) == (True, 2)
    assert await take(watch, 1) == [("MODIFIED", "a", 3)]
    assert idle(watch)


async def test_no_buffered_event_is_replayed_after_initial_events_73845(store: Any, cache: WatchCache) -> None:
    await put(store, "a")
    await drop(store, "a")
    await put(store, "b")
    assert await take(cache.watch(), 1) == [("ADDED", "b", 3)]


async def test_selector_transitions(store: Any, cache: WatchCache) -> None:
    watch = cache.watch(from_revision=None, selector=red)
    await put(store, "a", "blue")
    await put(store, "a", "red", note=1)
    await put(store, "a", "red", note=2)
    await put(store, "a", "blue", note=3)
    await put(store, "a", "red")
    await drop(store, "a")
    await put(store, "b", "blue")
    await drop(store, "b")
    events = list(await anext(watch))
    assert [(e.type, e.revision) for e in events] == [
        ("ADDED", 2), ("MODIFIED", 3), ("DELETED", 4), ("ADDED", 5), ("DELETED", 6),
    ]  # fmt: skip
    left = events[2].object()
    assert (left["note"], left["labels"], left["rv"]) == (2, {"color": "red"}, 4)
    assert idle(watch)


async def test_deleted_carries_the_last_state_at_the_deletions_revision(store: Any, cache: WatchCache) -> None:
    watch = cache.watch()
    await put(store, "a", note="last")
    await drop(store, "a")
    deleted = (await anext(watch))[-1]
    assert deleted.type == "DELETED"
    assert (deleted.object()["note"], deleted.object()["rv"]) == ("last", 2)


async def test_namespace_and_key_watches_see_only_theirs_125133(store: Any, cache: WatchCache) -> None:
    space = cache.watch(f"{PREFIX}ns/")
    one = cache.watch(key=f"{PREFIX}ns/a")
    await put(store, "a")
    await put(store, "ab")
    await put(store, "a", namespace="ns2")
    assert await take(space, 2) == [("ADDED", "a", 1), ("ADDED", "ab", 2)]
    assert await take(one, 1) == [("ADDED", "a", 1)]
    assert await take(cache.watch(key=f"{PREFIX}ns/a"), 1) == [("ADDED", "a", 1)]
    assert idle(space)
    assert idle(one)


async def test_resuming_watches_see_only_theirs_too(store: Any, cache: WatchCache) -> None:
    for name, namespace in (("a", "ns"), ("b", "ns"), ("a", "ns2"), ("a", "ns")):
        await put(store, name, namespace=namespace)
    space, one = cache.watch(f"{PREFIX}ns/", from_revision=1), cache.watch(key=f"{PREFIX}ns/a", from_revision=1)
    assert [n for _, _, n in await take(space, 2)] == [2, 4]
    assert [n for _, _, n in await take(one, 1)] == [4]
    assert idle(space)
    assert idle(one)


async def test_a_resumed_watch_with_more_events_than_its_queue_is_not_cut_off(store: Any, cache: WatchCache) -> None:
    for _ in range(8):
        await put(store, "a")
    assert len(await take(cache.watch(from_revision=1, limit=3), 7)) == 7


async def test_watch_older_than_the_ring_continues_from_history(store: Any) -> None:
    cache = WatchCache(store, PREFIX, describe, decode, ring=2)
    await cache.start()
    for n in range(6):
        await put(store, "a", "red" if n % 2 else "blue")
    watch, keyed = cache.watch(from_revision=1, selector=red), cache.watch(from_revision=1, key=f"{PREFIX}ns/a")
    await put(store, "a", "blue")
    expected = [(n, "ADDED" if n % 2 == 0 else "DELETED") for n in range(2, 8)]
    assert [(n, t) for t, _, n in await take(watch, 6)] == expected
    assert [n for _, _, n in await take(keyed, 6)] == [2, 3, 4, 5, 6, 7]


async def test_history_gone_is_compacted_at_the_boundary_18089(store: Any) -> None:
    cache = WatchCache(store, PREFIX, describe, decode, ring=1)
    await cache.start()
    for _ in range(4):
        await put(store, "a")
    await store.compact(2)
    with pytest.raises(Compacted):
        cache.watch(from_revision=1)
    assert [n for _, _, n in await take(cache.watch(from_revision=2), 2)] == [3, 4]


async def test_a_fresh_cache_has_no_history_hole_49956(store: Any) -> None:
    await put(store, "a")
    await put(store, "a")
    cache = WatchCache(store, PREFIX, describe, decode)
    await cache.start()
    assert await take(cache.watch(from_revision=1), 1) == [("MODIFIED", "a", 2)]
    await store.compact(2)
    with pytest.raises(Compacted):
        cache.watch(from_revision=1)


async def test_changes_while_the_cache_starts_are_not_lost_116122() -> None:
    class SlowStore(MemoryStore):
        async def range(self, *args: Any, **kwargs: Any) -> Any:
            await put(self, "before")
            found = await super().range(*args, **kwargs)
            await put(self, "between")
            return found

    cache = WatchCache(SlowStore(), PREFIX, describe, decode)
    await cache.start()
    assert [e.fields["metadata.name"] for e in cache.entries()] == ["before", "between"]
    assert await take(cache.watch(from_revision=1), 1) == [("ADDED", "between", 2)]


async def test_a_slow_watcher_is_cut_off_alone(store: Any, cache: WatchCache) -> None:
    slow, quick = cache.watch(limit=3), cache.watch(limit=3)
    for n in range(5):
        await put(store, f"p{n}")
        await take(quick, 1)
    with pytest.raises(WatchOverflow):
        await anext(slow)


async def test_position_never_passes_an_undelivered_event_15220(store: Any, cache: WatchCache) -> None:
    watch = cache.watch(selector=red)
    await put(store, "a", "blue")
    await store.commit("/registry/core/nodes/n", 0, b"{}")
    assert watch.position == 2
    await put(store, "b", "red")
    await put(store, "c", "blue")
    assert watch.position < 3
    await take(watch, 1)
    assert watch.position == 4


async def test_an_event_is_one_object_for_all_watchers_so_it_is_encoded_once(store: Any, cache: WatchCache) -> None:
    await put(store, "a", "blue")
    watches = [cache.watch(from_revision=1, selector=red) for _ in range(2)] + [cache.watch(from_revision=1)]
    await put(store, "a", "red")
    first, second, third = [(await anext(watch))[0] for watch in watches]
    assert first is second
    assert (first.type, third.type) == ("ADDED", "MODIFIED")


async def test_subscribers_are_told_at_once_in_order(store: Any, cache: WatchCache) -> None:
    seen: list[Any] = []
    unsubscribe = cache.subscribe(lambda *told: seen.append(told))
    await put(store, "a", "red")
    await put(store, "a", "blue")
    entry = cache.get(f"{PREFIX}ns/a")
    assert entry is not None
    assert seen[-1][1] is entry.object(), "the decoded object is shared"
    await drop(store, "a")
    unsubscribe()
    await put(store, "a")
    assert [(t, o["rv"], p and p["rv"], r) for t, o, p, r in seen] == [
        ("ADDED", 1, None, 1), ("MODIFIED", 2, 1, 2), ("DELETED", 3, 2, 3),
    ]  # fmt: skip


async def test_a_value_that_is_no_object_harms_only_its_own_key(store: Any, cache: WatchCache) -> None:
    watch = cache.watch()
    await put(store, "a")
    await store.commit(f"{PREFIX}ns/bad", 0, b"\x00garbage")
    assert len(cache.entries()) == 2
    bad = cache.get(f"{PREFIX}ns/bad")
    assert bad is not None
    with pytest.raises(EntryDamaged, match="ns/bad"):
        bad.object()
    await put(store, "bad")
    await drop(store, "bad")
    assert [(t, n) for t, n, _ in await take(watch, 3)] == [("ADDED", "a"), ("ADDED", "bad"), ("DELETED", "bad")]


async def test_waiting_for_a_revision(store: Any, cache: WatchCache) -> None:
    waiting = asyncio.ensure_future(cache.wait_for(2, 1))
    await put(store, "a")
    await store.commit("/elsewhere", 0, b"x")
    await waiting
    with pytest.raises(FutureRevision):
        await cache.wait_for(9, 0.01)
    assert await cache.barrier() == 2


async def test_the_ring_is_bounded_in_bytes() -> None:
    store = MemoryStore()
    cache = WatchCache(store, PREFIX, describe, decode, ring_bytes=50_000)
    await cache.start()
    for _ in range(20):
        await put(store, "a", note="x" * 5000)
    assert sum(event.cost for event in cache._ring) <= 50_000
    assert [n for _, _, n in await take(cache.watch(from_revision=5), 15)] == list(range(6, 21))


async def test_closing_the_cache_ends_its_watches(cache: WatchCache) -> None:
    watch = cache.watch()
    cache.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
