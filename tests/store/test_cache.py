"""The watch cache. The numbers in names are those of the upstream bugs in which the rule was once broken."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from sampan.api.types import Obj
from sampan.store.cache import CacheWatch, RingBudget, WatchCache
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Compacted, EntryDamaged, FutureRevision, WatchOverflow

PREFIX = "/registry/core/pods/"


def describe(obj: Obj) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return obj.get("labels", {}), {"metadata.name": obj["name"]}


def decode(value: bytes, revision: int) -> Obj:
    return {**orjson.loads(value), "rv": revision}


def red(entry: Any) -> bool:
    return entry.labels.get("color") == "red"


async def test_who_lets_go_after_the_end_of_the_cache_is_not_told_of_it(cache: WatchCache) -> None:
    leaving = [cache.keep(), cache.subscribe_part(lambda *told: None, PREFIX, None, None)]
    leaving.append(cache.subscribe(lambda *told: None))
    cache.close()
    for leave in leaving:
        leave()


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
    async with asyncio.timeout(15):
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
    await cache.barrier()
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
    waiting = asyncio.ensure_future(cache.wait_for(2, 15))
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
    assert 0 < cache._ring.held <= 50_000
    assert [n for _, _, n in await take(cache.watch(from_revision=5), 15)] == list(range(6, 21))


async def test_rings_that_share_a_budget_hold_no_more_together_and_the_oldest_events_go_first() -> None:
    store, budget = MemoryStore(), RingBudget(30_000)
    pods = WatchCache(store, PREFIX, describe, decode, budget=budget)
    nodes = WatchCache(store, "/registry/core/nodes/", describe, decode, budget=budget)
    await pods.start()
    await nodes.start()
    start = await put(store, "a")
    quiet = await store.commit("/registry/core/nodes/n", None, orjson.dumps({"name": "n"}))
    for _ in range(200):
        await put(store, "a", note="x" * 1000)
    assert 0 < budget.held <= 30_000
    assert (len(nodes._ring), nodes._ring.floor) == (0, quiet)
    assert budget.held == pods._ring.held
    assert await take(nodes.watch(from_revision=start), 1) == [("ADDED", "n", quiet)], "history has what the ring lost"
    pods.close()
    assert budget.held == 0


async def test_all_caches_share_one_limit_of_recent_events_unless_told_otherwise() -> None:
    first, second = (WatchCache(MemoryStore(), f"/{name}/", describe, decode) for name in "ab")
    other = WatchCache(MemoryStore(), "/a/", describe, decode, budget=RingBudget(1000))
    assert first._ring._budget is second._ring._budget is not other._ring._budget


async def test_the_order_of_a_shared_budget_does_not_grow_with_churn() -> None:
    store, budget = MemoryStore(history_limit=10), RingBudget(10_000_000)
    caches = [WatchCache(store, f"/r/{n}/", describe, decode, budget=budget, ring=5) for n in range(3)]
    for cache in caches:
        await cache.start()
    for n in range(9000):
        await store.commit(f"/r/{n % 3}/a", None, b'{"name":"a"}')
    assert [len(cache._ring) for cache in caches] == [5, 5, 5]
    assert len(budget._order) < 2000


async def test_what_the_writer_noted_is_described_and_not_decoded(store: Any) -> None:
    decoded: list[int] = []

    def counting(value: bytes, revision: int) -> Obj:
        decoded.append(revision)
        return decode(value, revision)

    cache = WatchCache(store, PREFIX, describe, counting, adopt=lambda obj, revision: {**obj, "rv": revision})
    await cache.start()
    obj = {"name": "a", "labels": {"color": "red"}}
    watch = cache.watch(selector=red)
    await store.commit(f"{PREFIX}ns/a", 0, orjson.dumps(obj), note=obj)
    assert await take(watch, 1) == [("ADDED", "a", 1)]
    assert decoded == []
    seen: list[Any] = []
    stop = cache.subscribe(lambda *told: seen.append(told))
    obj = {"name": "a", "labels": {"color": "blue"}}
    await store.commit(f"{PREFIX}ns/a", 1, orjson.dumps(obj), note=obj)
    assert decoded == [1], "only the previous state, which nobody had kept"
    entry = cache.get(f"{PREFIX}ns/a")
    assert entry is not None
    assert seen[0][1] is entry.object()
    assert (seen[0][1]["rv"], seen[0][2]["rv"], obj.get("rv")) == (2, 1, None)
    stop()
    assert entry._object is None, "nobody follows any more, so nothing is kept"


async def test_who_only_listens_makes_the_cache_keep_no_objects(store: Any, cache: WatchCache) -> None:
    seen: list[Any] = []
    cache.subscribe(lambda *told: seen.append(told), keep=False)
    await put(store, "a")
    await put(store, "a")
    assert [(t, o["rv"], p) for t, o, p, _ in seen] == [("ADDED", 1, None), ("MODIFIED", 2, None)]
    assert [entry._object for entry in cache.entries()] == [None]


async def test_nothing_is_decoded_for_who_only_listens_to_a_writer_of_this_process(
    store: Any, cache: WatchCache
) -> None:
    seen: list[Any] = []
    stop = cache.subscribe(lambda *told: seen.append(told), keep=False)
    obj = {"name": "a", "labels": {"color": "red"}}
    await store.commit(f"{PREFIX}ns/a", 0, orjson.dumps(obj), note=obj)
    assert seen[0][1] is obj
    stop()
    await put(store, "b")
    assert len(seen) == 1


async def test_states_that_were_replaced_are_kept_as_bytes_only(store: Any, cache: WatchCache) -> None:
    cache.subscribe(lambda *told: None)
    for _ in range(3):
        await put(store, "a")
    watch = cache.watch(from_revision=1)
    for event in await anext(watch):
        assert event.object()["rv"] == event.revision
    kept = [event.entry for event in cache._ring.since(0) or () if event.entry._object is not None]
    assert kept == [cache.get(f"{PREFIX}ns/a")]


async def test_values_of_an_older_form_are_read_as_if_written_today(store: Any) -> None:
    await store.commit(f"{PREFIX}ns/old", 0, b'OLD{"name":"old"}')

    def current(value: bytes) -> bytes:
        return value[3:] if value.startswith(b"OLD") else value

    cache = WatchCache(store, PREFIX, describe, decode, current=current)
    await cache.start()
    await put(store, "new")
    assert [entry.value for entry in cache.entries()] == [b'{"name":"new","labels":{"color":"red"}}', b'{"name":"old"}']
    assert cache.entries()[1].object() == {"name": "old", "rv": 1}
    watch = cache.watch(from_revision=0)
    assert [event.object()["name"] for event in await anext(watch)] == ["new", "old"]


async def test_damaged_entries_hide_no_others(store: Any, cache: WatchCache) -> None:
    await put(store, "a")
    await store.commit(f"{PREFIX}ns/bad", 0, b"garbage")
    await store.commit(f"{PREFIX}other/bad", 0, b"garbage")
    assert [entry.key for entry in cache.readable()] == [f"{PREFIX}ns/a"]
    assert cache.damaged() == [f"{PREFIX}ns/bad", f"{PREFIX}other/bad"]
    assert cache.damaged(f"{PREFIX}other/") == [f"{PREFIX}other/bad"]
    again = WatchCache(store, PREFIX, describe, decode)
    await again.start()
    assert again.damaged() == cache.damaged()
    await put(store, "bad")
    await drop(store, "bad", "other")
    assert cache.damaged() == []
    assert len(cache.readable()) == 2


async def test_a_version_is_of_one_state_of_a_directory(store: Any, cache: WatchCache) -> None:
    states: dict[tuple[str, int], Any] = {}

    def look() -> None:
        for prefix in (PREFIX, f"{PREFIX}ns/", f"{PREFIX}other/", f"{PREFIX}none/"):
            state = [(entry.key, entry.revision) for entry in cache.entries(prefix)]
            assert states.setdefault((prefix, cache.version(prefix)), state) == state

    look()
    for step in (put(store, "a"), put(store, "b", namespace="other"), drop(store, "a"), put(store, "a")):
        await step
        look()
    before = cache.version(f"{PREFIX}ns/")
    await put(store, "c", namespace="other")
    await store.commit("/elsewhere/x", 0, b"1")
    assert cache.version(f"{PREFIX}ns/") == before
    assert cache.version() == cache.version(f"{PREFIX}other/") == 5
    cache._versions.clear()
    look()


async def test_a_slow_watcher_holds_no_more_bytes_than_its_limit() -> None:
    store = MemoryStore(history_limit=10)
    cache = WatchCache(store, PREFIX, describe, decode, watch_bytes=100_000)
    await cache.start()
    slow, quick = cache.watch(), cache.watch()
    for n in range(30):
        await put(store, f"p{n}", note="x" * 10_000)
        await take(quick, 1)
    with pytest.raises(WatchOverflow):
        await anext(slow)
    await put(store, "large", note="x" * 200_000)
    assert len(await take(quick, 1)) == 1, "one that keeps up gets what is larger than the limit too"


async def test_a_watch_of_one_field_value_sees_what_enters_and_leaves_and_nothing_else(store: Any) -> None:
    def by_color(obj: Obj) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, obj.get("labels", {})

    asked: list[str] = []

    def is_red(entry: Any) -> bool:
        asked.append(entry.key)
        return entry.fields.get("color") == "red"

    cache = WatchCache(store, PREFIX, by_color, decode)
    await cache.start()
    watch = cache.watch(f"{PREFIX}ns/", selector=is_red, only=("color", "red"))
    for color in ("blue", "green"):
        await put(store, "other", color)
    assert asked == []
    for color in ("blue", "red", "red", "blue", "red"):
        await put(store, "a", color)
    await put(store, "elsewhere", "red", namespace="ns2")
    await drop(store, "a")
    assert [t for t, _, _ in await take(watch, 5)] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    watch.close()
    assert cache._interests.targets() == []
    assert cache._interests._by_field == {}


async def test_closing_the_cache_ends_its_watches(cache: WatchCache) -> None:
    watch = cache.watch()
    cache.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
