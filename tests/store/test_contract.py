"""The contract of a store, rule by rule, on every implementation."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sampan.store.protocol import Compacted, FutureRevision, Guard, GuardFailed, RevisionConflict, StoreUnavailable

pytestmark = pytest.mark.every_store


async def test_revisions_count_commits_of_all_keys(store: Any) -> None:
    base = store.revision
    assert [await store.commit(key, 0, b"1") for key in ("/a", "/b", "/c")] == [base + 1, base + 2, base + 3]
    assert store.revision == base + 3


async def test_entry_says_when_the_key_was_created_and_changed(store: Any) -> None:
    first = await store.commit("/a", None, b"1")
    await store.commit("/a", first, b"2")
    entry = await store.get("/a")
    assert (entry.value, entry.created, entry.revision) == (b"2", first, first + 1)
    await store.commit("/a", first + 1, None)
    assert await store.get("/a") is None
    await store.commit("/a", 0, b"3")
    assert (await store.get("/a")).created == first + 3


@pytest.mark.parametrize(("absent", "value"), [(True, b"x"), (False, b"x"), (False, None)])
async def test_a_commit_at_the_wrong_revision_conflicts_and_changes_nothing(
    store: Any, absent: bool, value: bytes | None
) -> None:
    actual = await store.commit("/a", 0, b"1")
    with pytest.raises(RevisionConflict) as caught:
        await store.commit("/a", 0 if absent else actual + 6, value)
    assert caught.value.actual == actual
    assert store.revision == actual


async def test_a_commit_happens_only_while_its_guard_is_at_its_revision(store: Any) -> None:
    absent = Guard("/guard", 0)
    await store.commit("/a", 0, b"1", guards=[absent])
    first = await store.commit("/guard", 0, b"x")
    held = Guard("/guard", first)
    for value in (b"2", None):
        with pytest.raises(GuardFailed):
            await store.commit("/a", None, value, guards=[absent])
        with pytest.raises(GuardFailed):
            await store.commit("/a", first + 99, value, guards=[absent])  # which is told before a conflict
        with pytest.raises(RevisionConflict):
            await store.commit("/a", first + 99, value, guards=[held])
    assert (await store.get("/a")).value == b"1"
    at = await store.commit("/a", None, b"2", guards=[held])
    await store.commit("/guard", first, b"y")
    with pytest.raises(GuardFailed):
        await store.commit("/a", at, None, guards=[held])
    assert (await store.get("/a")).value == b"2"


async def test_of_a_guard_and_what_it_guards_against_one_wins_in_every_race(store: Any) -> None:
    for n in range(20):
        held = await store.commit("/guard", None, b"%d" % n)
        guarded = store.commit(f"/a{n}", 0, b"1", guards=[Guard("/guard", held)])
        taken, done = await asyncio.gather(store.commit("/guard", held, b"t"), guarded, return_exceptions=True)
        if isinstance(done, GuardFailed):
            assert await store.get(f"/a{n}") is None
        else:
            assert done < taken, "what was guarded came before the guard changed"


@pytest.mark.parametrize("expected", [None, 0, 3])
async def test_deleting_an_absent_key_conflicts(store: Any, expected: int | None) -> None:
    with pytest.raises(RevisionConflict):
        await store.commit("/a", expected, None)


async def test_one_of_many_concurrent_writers_at_a_revision_wins_and_losers_see_it(store: Any) -> None:
    base = await store.commit("/a", 0, b"0")

    async def write(n: int) -> bytes | None:
        try:
            await store.commit("/a", base, b"%d" % n)
        except RevisionConflict:
            entry = await store.get("/a")
            assert entry.revision == base + 1, "a loser must be able to read the winner's write at once"
            return None
        return b"%d" % n

    winners = [won for won in await asyncio.gather(*(write(n) for n in range(20))) if won is not None]
    assert winners == [(await store.get("/a")).value]


async def test_read_modify_write_loops_lose_no_update(store: Any) -> None:
    await store.commit("/n", 0, b"0")

    async def add() -> None:
        while True:
            entry = await store.get("/n")
            try:
                await store.commit("/n", entry.revision, b"%d" % (int(entry.value) + 1))
            except RevisionConflict:
                continue
            return

    await asyncio.gather(*(add() for _ in range(20)))
    assert (await store.get("/n")).value == b"20"


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)  # elsewhere their order is open
async def test_commits_in_one_task_on_one_key_chain(store: Any) -> None:
    created = asyncio.ensure_future(store.commit("/a", 0, b"1"))
    deleted = asyncio.ensure_future(store.commit("/a", None, None))
    again = asyncio.ensure_future(store.commit("/a", 0, b"3"))
    assert await asyncio.gather(created, deleted, again) == [1, 2, 3]
    assert (await store.get("/a")).value == b"3"


async def test_range_pages_in_key_order(store: Any) -> None:
    for key in ("/p/b", "/p/a", "/q/x", "/p/c", "/o"):
        newest = await store.commit(key, 0, key.encode())
    first = await store.range("/p/", limit=2)
    assert [e.key for e in first.entries] == ["/p/a", "/p/b"]
    assert (first.remaining, first.revision) == (1, newest)
    second = await store.range("/p/", limit=2, after="/p/b", revision=first.revision)
    assert [e.key for e in second.entries] == ["/p/c"]
    assert second.remaining == 0


async def test_range_at_an_older_revision_shows_that_state(store: Any) -> None:
    a, b, c = [await store.commit(key, 0, b"%d" % n) for n, key in enumerate(("/p/a", "/p/b", "/p/c"))]
    await store.commit("/p/a", a, b"new")
    deleted = await store.commit("/p/b", b, None)
    await store.commit("/p/d", 0, b"d")
    then = await store.range("/p/", revision=c, limit=2)
    assert [(e.key, e.value) for e in then.entries] == [("/p/a", b"0"), ("/p/b", b"1")]
    assert (then.remaining, then.revision) == (1, c)
    assert (await store.get("/p/b", revision=c)).value == b"1"
    assert await store.get("/p/b", revision=deleted) is None


async def test_reading_a_future_revision_is_refused(store: Any) -> None:
    with pytest.raises(FutureRevision):
        await store.range("/", revision=store.revision + 1)
    with pytest.raises(FutureRevision):
        await store.compact(store.revision + 1)


async def test_compaction_keeps_the_compacted_revision_and_refuses_older_ones(store: Any) -> None:
    first = await store.commit("/a", 0, b"1")
    await store.commit("/b", 0, b"2")
    await store.commit("/a", first, b"3")
    kept = await store.commit("/b", first + 1, None)
    newest = await store.commit("/a", first + 2, b"5")
    await store.compact(kept)
    assert store.oldest == kept
    assert [(e.key, e.value) for e in (await store.range("/", revision=kept)).entries] == [("/a", b"3")]
    old = kept - 1
    for read in (store.range("/", revision=old), store.get("/a", revision=old), store.changes("/", old, newest, 10)):
        with pytest.raises(Compacted):
            await read
    (change,) = await store.changes("/", kept, newest, 10)
    assert (change.revision, change.previous.value, change.entry.value) == (newest, b"3", b"5")
    await store.compact(first + 1)
    assert store.oldest == kept


async def test_history_and_what_listeners_are_told_join_without_gap_or_repeat(store: Any) -> None:
    base = store.revision
    for n in range(5):
        await store.commit("/p/a", None, b"%d" % n)
        await store.commit("/q", None, b"")
    live: list[Any] = []
    await store.sync()
    store.add_listener("/p/", live.append)
    start = store.revision
    await store.commit("/p/a", None, None)
    await store.commit("/p/b", 0, b"live")
    await store.sync()
    changes = [*await store.changes("/p/", base + 2, start, 10), *live]
    seen = [(c.revision - base, c.entry and c.entry.value, c.previous and c.previous.value) for c in changes]
    assert seen == [
        (3, b"1", b"0"), (5, b"2", b"1"), (7, b"3", b"2"), (9, b"4", b"3"), (11, None, b"4"), (12, b"live", None),
    ]  # fmt: skip


async def test_listeners_see_a_write_before_its_caller(store: Any) -> None:
    seen: list[int] = []
    remove = store.add_listener("/p/", lambda change: seen.append(change.revision))
    first = await store.commit("/p/a", 0, b"1")
    if store.sync_now() is None:  # elsewhere they may be told later, and this waits for it
        await store.sync()
    assert first in seen
    await store.commit("/q", 0, b"1")
    await store.sync()
    remove()
    await store.commit("/p/b", 0, b"1")
    await store.sync()
    assert seen == [first]


@pytest.mark.logs_errors("a listener failed")
async def test_a_failing_listener_costs_nobody_the_change(store: Any) -> None:
    seen: list[int] = []
    store.add_listener("/", lambda change: 1 / 0)
    store.add_listener("/", lambda change: seen.append(change.revision))
    first = await store.commit("/a", 0, b"1")
    await store.sync()
    assert seen == [first]


async def test_changes_come_in_pages(store: Any) -> None:
    at = [await store.commit(f"/{n}", 0, b"x") for n in range(5)]
    assert [c.revision for c in await store.changes("/", at[0], at[3], 2)] == [at[1], at[2]]
    assert [c.revision for c in await store.changes("/", at[2], at[3], 2)] == [at[3]]
    assert not await store.changes("/", at[3], at[3], 2)


async def test_the_revision_at_a_moment(store: Any, clock: Any) -> None:
    start, base = clock.now(), store.revision
    for minute in range(3):
        clock.set(start + timedelta(minutes=minute))
        await store.commit("/a", None, b"x")
    clock.set(start - timedelta(hours=1))  # a clock that is set back does not reorder history
    await store.commit("/a", None, b"x")
    moments = [timedelta(seconds=s) for s in (-1, 0, 59, 60, 119, 120)]
    assert [await store.revision_at(start + m) - base for m in moments] == [0, 1, 1, 2, 2, 4]
    await store.compact(base + 2)
    with pytest.raises(Compacted):
        await store.revision_at(start)
    assert await store.revision_at(start + timedelta(seconds=119)) == base + 2


async def test_a_note_reaches_listeners_and_history_does_not_keep_it(store: Any) -> None:
    told: list[Any] = []
    store.add_listener("/", told.append)
    note = {"decoded": True}
    first = await store.commit("/a", 0, b"1", note=note)
    await store.commit("/a", None, b"2")
    await store.sync()
    assert [change.note for change in told] == [note, None]
    assert told[0].note is note
    assert [change.note for change in await store.changes("/", first - 1, first + 1, 10)] == [None, None]


async def test_an_entry_ends_with_its_time_to_live_by_a_commit_that_listeners_see(store: Any, clock: Any) -> None:
    told: list[Any] = []
    store.add_listener("/", told.append)
    await store.commit("/short", 0, b"1", ttl_seconds=10)
    await store.commit("/long", 0, b"1", ttl_seconds=20)
    newest = await store.commit("/ever", 0, b"1")
    later(clock, 9.999)
    await expire(store)
    assert await keys(store) == ["/ever", "/long", "/short"]
    later(clock, 0.001)
    await expire(store)
    assert await keys(store) == ["/ever", "/long"]
    ended = told[-1]
    assert (ended.key, ended.entry, ended.previous.value) == ("/short", None, b"1")
    assert ended.revision > newest
    later(clock, 10)
    await expire(store)
    assert await keys(store) == ["/ever"]
    assert (await store.get("/long", revision=ended.revision)).value == b"1"


@pytest.mark.parametrize(("ttl", "left"), [(None, ["/a"]), (30, ["/a"]), (1, [])])
async def test_each_commit_sets_its_own_time_to_live_or_none(
    store: Any, clock: Any, ttl: float | None, left: list[str]
) -> None:
    first = await store.commit("/a", 0, b"1", ttl_seconds=10)
    await store.commit("/a", first, b"2", ttl_seconds=ttl)
    later(clock, 10)
    await expire(store)
    assert await keys(store) == left


async def test_what_was_deleted_and_made_again_does_not_inherit_the_end(store: Any, clock: Any) -> None:
    first = await store.commit("/a", 0, b"1", ttl_seconds=10)
    await store.commit("/a", first, None)
    await store.commit("/a", 0, b"2")
    later(clock, 11)
    await expire(store)
    assert await keys(store) == ["/a"]


async def test_what_was_written_without_a_time_to_live_can_be_given_one(store: Any, clock: Any) -> None:
    await asyncio.gather(*(store.commit(f"/a/{n}", 0, b"1") for n in range(1100)))
    await store.commit("/a/short", 0, b"1", ttl_seconds=5)
    await store.commit("/b/other", 0, b"1")
    await store.limit_life("/a/", 10)
    await store.commit("/a/7", None, b"written again")
    later(clock, 9.999)
    await expire(store)
    assert len(await keys(store)) == 1101
    later(clock, 1)
    await expire(store)
    assert await keys(store) == ["/a/7", "/b/other"]


async def test_a_time_to_live_ends_by_itself(store: Any, clock: Any) -> None:
    ended = asyncio.Event()
    store.add_listener("/", lambda change: ended.set() if change.entry is None else None)
    later(clock, 60)  # the clock of the store, not the loop's, says when
    await store.commit("/later", 0, b"1", ttl_seconds=3600)
    await store.commit("/a", 0, b"1", ttl_seconds=0.001)
    later(clock, 1)
    async with asyncio.timeout(15):
        await ended.wait()
    assert await keys(store) == ["/later"]


async def test_thousands_may_end_at_once(store: Any, clock: Any) -> None:
    told: list[Any] = []
    store.add_listener("/", told.append)
    await asyncio.gather(*(store.commit(f"/{n}", 0, b"1", ttl_seconds=1 + n % 3) for n in range(500)))
    later(clock, 5)
    await expire(store)
    assert await keys(store) == []
    assert len({change.revision for change in told}) == 1000, "each ends by a commit of its own"


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
async def test_a_time_to_live_that_is_none_is_refused(store: Any, ttl: float) -> None:
    base = store.revision
    with pytest.raises(ValueError, match="time to live"):
        await store.commit("/a", 0, b"1", ttl_seconds=ttl)
    assert store.revision == base


async def test_a_closed_store_refuses_writes(store: Any) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.commit("/a", 0, b"1")


def later(clock: Any, seconds: float) -> None:
    clock.set(clock.now() + timedelta(seconds=seconds))


async def expire(store: Any) -> None:
    await store.sync()  # elsewhere it knows what ends once it was told
    await store.expire()
    await store.sync()


async def keys(store: Any) -> list[str]:
    return [entry.key for entry in (await store.range("/")).entries]
