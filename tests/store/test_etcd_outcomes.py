"""Answers of etcd that are lost, come late, or say no: what the writer is told, and how often the write happens."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from etcd_members import running

from sampan.api.clock import FixedClock, SystemClock
from sampan.store.cache import WatchCache
from sampan.store.etcd import missed, transactions
from sampan.store.etcd.client import Client
from sampan.store.etcd.ends import Ends
from sampan.store.etcd.errors import Again, judge
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.retention import Retention, plan_compaction
from sampan.store.etcd.settings import EtcdSettings, parse_endpoints
from sampan.store.etcd.store import EtcdStore
from sampan.store.protocol import (
    Change,
    Compacted,
    OutcomeUnknown,
    RevisionConflict,
    StoreError,
    StoreUnavailable,
    ValueTooLarge,
)

TXN = "/etcdserverpb.KV/Txn"


class Lossy:
    """A way to etcd that loses answers, and may deliver what was sent again later."""

    def __init__(self, client: Client, loses: Callable[[str], bool]) -> None:
        self._once = client._once
        self.loses = loses
        self.late: list[tuple[str, str, Any]] = []
        self.holds = False
        client._once = self.once  # type: ignore[method-assign]

    async def once(self, member: str, path: str, request: Any, seconds: float) -> Any:
        if path == TXN and self.holds:
            self.late.append((member, path, request))
            self.holds = False
            raise Again("it is still on its way")
        answer = await self._once(member, path, request, seconds)
        if self.loses(path):
            raise Again("the answer is lost")
        return answer

    async def deliver(self) -> None:
        for member, path, request in self.late:
            await self._once(member, path, request, 5.0)
        self.late = []


@pytest.fixture
async def etcd(etcd_endpoint: str, request: pytest.FixtureRequest) -> AsyncIterator[EtcdStore]:
    settings = EtcdSettings(endpoints=(etcd_endpoint,), prefix=f"/{request.node.name}", call_seconds=5)
    store = await EtcdStore.open(settings, clock=SystemClock())
    yield store
    await store.close()


async def test_a_write_whose_answers_are_lost_happens_once_and_is_told_as_done(etcd: EtcdStore) -> None:
    rng = random.Random(3)
    Lossy(etcd._client, lambda path: path == TXN and rng.random() < 0.5)
    told: list[Change] = []
    etcd.add_listener("/", told.append)
    start, revision = etcd.revision, 0
    for number in range(30):
        revision = await etcd.commit("/a", revision, b"%d" % number)
    await etcd.sync()
    assert [change.entry.value for change in told if change.entry is not None] == [b"%d" % n for n in range(30)]
    history = await etcd.changes("/", start, revision, 100)
    assert [change.revision for change in history] == [change.revision for change in told]


@pytest.mark.parametrize("expected", [None, 0])
async def test_what_arrives_after_it_was_sent_again_does_not_happen_a_second_time(
    etcd: EtcdStore, expected: int | None
) -> None:
    lossy = Lossy(etcd._client, lambda path: False)
    lossy.holds = True
    await etcd.commit("/a", expected, b"mine")
    theirs = await etcd.commit("/a", None, b"theirs")
    await lossy.deliver()
    entry = await etcd.get("/a")
    assert entry is not None and (entry.value, entry.revision) == (b"theirs", theirs)


async def test_what_was_told_as_refused_does_not_happen_when_it_arrives_later(etcd: EtcdStore) -> None:
    there = await etcd.commit("/a", 0, b"there")
    lossy = Lossy(etcd._client, lambda path: False)
    lossy.holds = True
    with pytest.raises(RevisionConflict):
        await etcd.commit("/a", 0, b"late")
    await etcd.commit("/a", there, None)  # now its condition holds
    await lossy.deliver()
    assert await etcd.get("/a") is None


async def test_a_write_without_any_answer_is_told_as_unknown_within_its_time(etcd: EtcdStore) -> None:
    etcd._client.settings = EtcdSettings(
        endpoints=etcd._client.settings.endpoints, prefix=etcd._client.settings.prefix, call_seconds=0.2
    )
    Lossy(etcd._client, lambda path: path == TXN)
    with pytest.raises(OutcomeUnknown, match="/a: the write may have happened"):
        await etcd.commit("/a", 0, b"1")


async def test_a_value_that_etcd_does_not_take_is_refused_as_too_large(etcd: EtcdStore) -> None:
    with pytest.raises(ValueTooLarge, match="request is too large"):
        await etcd.commit("/a", 0, b"x" * (3 << 20))


async def test_slots_of_processes_that_are_gone_are_swept_and_one_that_lives_goes_on(
    etcd_endpoint: str, request: pytest.FixtureRequest
) -> None:
    clock = FixedClock(SystemClock().now())
    settings = EtcdSettings(endpoints=(etcd_endpoint,), prefix=f"/{request.node.name}")
    store = await EtcdStore.open(settings, clock=clock)
    first = await store.commit("/a", 0, b"1")
    other = await EtcdStore.open(settings, clock=clock)
    await other.commit("/b", 0, b"2")
    await other.commit("/b", None, b"3")
    await other.compacting.sweep(other.revision)
    second = await store.commit("/a", first, b"4")
    assert (await store.get("/a")) is not None and second > first
    await other.close()
    await store.close()


async def test_slots_are_swept_though_others_compact_and_none_that_was_used_since_the_last_look(
    etcd: EtcdStore,
) -> None:
    async def slots() -> int:
        clients = etcd._layout.clients
        ask = pb.RangeRequest(key=clients, range_end=clients[:-1] + b"0", count_only=True)
        return int((await etcd._client.call("/etcdserverpb.KV/Range", ask)).count)

    async def others_compact() -> None:
        await etcd.sync()
        await etcd._client.call("/etcdserverpb.KV/Compact", pb.CompactionRequest(revision=etcd.revision))

    gone = await EtcdStore.open(etcd._client.settings, clock=SystemClock())
    await gone.commit("/a", 0, b"1")
    await gone.close()
    await others_compact()
    await etcd.compacting.check()
    assert await slots() == 1, "a write of a moment ago may still be under way"
    await etcd.commit("/b", 0, b"1")
    await others_compact()
    await etcd.compacting.check()
    assert await slots() == 1, "its own is in use"


async def test_history_older_than_its_time_is_compacted(etcd_endpoint: str, request: pytest.FixtureRequest) -> None:
    from datetime import timedelta

    clock = FixedClock(SystemClock().now())
    settings = EtcdSettings(endpoints=(etcd_endpoint,), prefix=f"/{request.node.name}")
    store = await EtcdStore.open(settings, clock=clock, retention=Retention(seconds=3600))
    old = await store.commit("/a", 0, b"1")
    clock.set(clock.now() + timedelta(seconds=1800))
    newer = await store.commit("/a", old, b"2")
    clock.set(clock.now() + timedelta(seconds=2400))
    await store.commit("/a", newer, b"3")
    await store.compacting.check()
    assert old <= store.oldest < newer
    await store.close()


async def test_a_full_etcd_says_so_and_still_answers_reads(tmp_path: Path) -> None:
    members_quota = ("--quota-backend-bytes", str(4 << 20))
    async with running(tmp_path, arguments=members_quota) as members:
        store = await EtcdStore.open(EtcdSettings(endpoints=members.endpoints), clock=SystemClock())
        await store.commit("/kept", 0, b"1")
        with pytest.raises(StoreUnavailable, match="etcd is full"):
            for number in range(200):
                await store.commit(f"/{number}", 0, b"x" * 100_000)
        entry = await store.get("/kept")
        assert entry is not None and entry.value == b"1"
        await store.close()


async def test_who_is_no_longer_there_is_told_within_its_time(tmp_path: Path) -> None:
    async with running(tmp_path) as members:
        settings = EtcdSettings(endpoints=members.endpoints, call_seconds=1)
        store = await EtcdStore.open(settings, clock=SystemClock())
        members.all[0].kill()
        with pytest.raises(StoreUnavailable, match="gave no answer for 1 s"):
            await store.get("/a")
        with pytest.raises(OutcomeUnknown):
            await store.commit("/a", 0, b"1")
        await store.close()


async def test_user_and_password_open_an_etcd_that_asks_for_them(tmp_path: Path) -> None:
    async with running(tmp_path) as members:
        endpoints = members.endpoints
        admin = Client(EtcdSettings(endpoints=endpoints))
        await admin.call("/etcdserverpb.Auth/UserAdd", pb.AuthUserAddRequest(name="root", password="secret"))
        await admin.call("/etcdserverpb.Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root"))
        await admin.call("/etcdserverpb.Auth/AuthEnable", pb.AuthEnableRequest())
        await admin.close()
        named = EtcdSettings(endpoints=endpoints, username="root", password="secret", open_seconds=5)
        store = await EtcdStore.open(named, clock=SystemClock())
        assert await store.commit("/a", 0, b"1") <= await store.sync()
        store._client._token = "forgotten by etcd"
        assert await store.get("/a") is not None
        await store.close()
        wrong = EtcdSettings(endpoints=endpoints, username="root", password="wrong", open_seconds=5)
        with pytest.raises(StoreUnavailable, match="refuses this server"):
            await EtcdStore.open(wrong, clock=SystemClock())


async def test_what_others_change_in_one_step_reaches_caches_and_history_whole(etcd: EtcdStore) -> None:
    cache = WatchCache(etcd, "/c/", lambda obj: ({}, {}), lambda value, revision: json.loads(value))
    await cache.start()
    for name in "abc":
        await etcd.commit(f"/c/{name}", 0, b"{}")
    before = await cache.barrier()
    watch = cache.watch(from_revision=before)
    start, end = etcd._layout.range_of("/c/")
    await etcd._client.call("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest(key=start, range_end=end))
    after = await cache.barrier()
    assert cache.count() == 0
    assert [(event.type, event.revision) for event in await anext(watch)] == [("DELETED", after)] * 3
    assert [change.key for change in await etcd.changes("/c/", before, after, 1)] == ["/c/a", "/c/b", "/c/c"]
    etcd._ring.floor = after
    assert [change.key for change in await etcd.changes("/c/", before, after, 1)] == ["/c/a", "/c/b", "/c/c"]
    cache.close()


async def test_who_goes_on_after_a_restart_is_served_from_memory_and_listeners_hear_what_comes(
    etcd: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = etcd.revision
    made = [await etcd.commit("/a", None, b"%d" % number) for number in range(5)]
    again = await EtcdStore.open(etcd._client.settings, clock=SystemClock())
    told: list[Change] = []
    again.add_listener("/", told.append)
    monkeypatch.setattr(again._history, "read", None)
    changes = await again.changes("/", before, again.revision, 100)
    assert [change.revision for change in changes] == made
    made.append(await again.commit("/a", None, b"later"))
    await again.sync()
    assert [change.revision for change in told] == made[-1:]
    await again.close()


async def test_history_that_is_compacted_while_a_store_opens_is_none_of_its_own(etcd: EtcdStore) -> None:
    for number in range(5):
        await etcd.commit("/a", None, b"%d" % number)
    again = await EtcdStore.open(etcd._client.settings, clock=SystemClock())
    again._feed.told, again._ring.floor = 1, 1  # as if it began at what goes now
    await etcd.compact(await etcd.sync())
    again._feed.again()
    told: list[Change] = []
    again.add_listener("/", told.append)
    revision = await again.commit("/a", None, b"later")
    await again.sync()
    assert [change.revision for change in told] == [revision]
    assert again._ring.floor > 1
    await again.close()


class Held:
    """The store is told of nothing until ``go`` is set."""

    def __init__(self, store: EtcdStore) -> None:
        self.go = asyncio.Event()
        self._watch = store._client.watch
        store._client.watch = self.watch  # type: ignore[method-assign]
        store._feed.again()

    @asynccontextmanager
    async def watch(self, **arguments: Any) -> AsyncIterator[Any]:
        await self.go.wait()
        async with self._watch(**arguments) as stream:
            yield stream


async def test_who_is_behind_when_history_is_compacted_takes_over_the_state_and_goes_on(etcd: EtcdStore) -> None:
    cache = WatchCache(etcd, "/c/", lambda obj: ({}, {}), lambda value, revision: json.loads(value))
    await cache.start()
    for name in "abc":
        await etcd.commit(f"/c/{name}", 0, b"{}")
    before = await cache.barrier()
    watch = cache.watch(from_revision=before)
    other = await EtcdStore.open(etcd._client.settings, clock=SystemClock())
    held = Held(etcd)
    await other.commit("/c/b", None, None)
    await other.commit("/c/gone", 0, b"{}")
    await other.commit("/c/gone", None, None)
    await other.commit("/c/a", None, b"[1]")
    changed = await other.commit("/c/a", None, b"[2]")
    made = await other.commit("/c/d", 0, b"{}")
    await other.commit("/elsewhere", 0, b"{}")
    compacted = await other.sync()
    await other.compact(compacted)
    starting = WatchCache(etcd, "/c/", lambda obj: ({}, {}), lambda value, revision: json.loads(value))
    await starting.start()
    held.go.set()
    assert await cache.barrier() >= compacted
    for each in (cache, starting):
        assert [(entry.key, entry.value) for entry in each.entries()] == [
            ("/c/a", b"[2]"), ("/c/c", b"{}"), ("/c/d", b"{}"),
        ]  # fmt: skip
    (*put, deleted) = [(event.type, event.entry.key, event.revision) for event in await anext(watch)]
    assert put == [("MODIFIED", "/c/a", changed), ("ADDED", "/c/d", made)]
    assert deleted[:2] == ("DELETED", "/c/b") and deleted[2] >= compacted
    with pytest.raises(Compacted):
        cache.watch(from_revision=before)
    last = await etcd.commit("/c/b", 0, b"{}")
    assert [event.revision for event in await anext(watch)] == [last]
    later = cache.watch(from_revision=compacted)
    assert [event.revision for event in await anext(later)] == [last]
    for each in (cache, starting):
        each.close()
    await other.close()


async def test_a_store_opens_though_history_is_compacted_up_to_now_meanwhile(
    etcd: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Ends.load

    async def late(self: Ends) -> None:
        monkeypatch.undo()
        await etcd.commit("/a", None, b"1", ttl_seconds=1000)
        await etcd.commit("/a", None, b"2", ttl_seconds=1000)
        await etcd.compact(await etcd.sync())
        await load(self)

    monkeypatch.setattr(Ends, "load", late)
    store = await EtcdStore.open(etcd._client.settings, clock=SystemClock())
    told: list[Change] = []
    store.add_listener("/", told.append)
    made = await store.commit("/b", 0, b"")
    await store.sync()
    assert told[-1].revision == made and list(store.ends) == ["/a"]
    await store.close()


async def test_who_has_missed_too_much_says_so_and_ends(etcd: EtcdStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed, "MOST_CHANGED", 1)
    await etcd.sync()
    ended: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
    etcd._on_fatal = ended.set_result
    other = await EtcdStore.open(etcd._client.settings, clock=SystemClock())
    held = Held(etcd)
    for name in "abc":
        await other.commit(f"/{name}", 0, b"")
    await other.compact(await other.sync())
    held.go.set()
    assert "cut off for longer than history is kept" in str(await ended)
    with pytest.raises(StoreUnavailable, match="could not be followed"):
        await etcd.commit("/a", None, b"")
    await other.close()


# -- pure parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("etcd://a:2379,b:2380", ("a:2379", "b:2380")),
        ("https://a:1, http://b:2/", ("a:1", "b:2")),
        ("a", ("a:2379",)),
        ("[2001:db8::1]", ("[2001:db8::1]:2379",)),
        ("[2001:db8::1]:1", ("[2001:db8::1]:1",)),
        ("a:1,a:1", ("a:1",)),
    ],
)
def test_endpoints_are_read_as_people_write_them(text: str, found: tuple[str, ...]) -> None:
    assert parse_endpoints(text) == found


@pytest.mark.parametrize("text", ["", "a:b", "a:0", "a:70000", "user@a:1", "a:1/path", "2001:db8::1"])
def test_what_is_no_endpoint_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"no endpoint|in brackets"):
        parse_endpoints(text)


@pytest.mark.parametrize(("prefix", "strip"), [("/registry", "/registry"), ("", ""), ("/other", "/registry")])
def test_keys_go_to_etcd_and_come_back(prefix: str, strip: str) -> None:
    layout = Layout(prefix, strip)
    for key in (f"{strip}/core/pods/a/b", f"{strip}/é"):
        assert layout.key(layout.of(key)) == key
        assert layout.ended(layout.end_of(key)) == key
        start, end = layout.range_of(f"{strip}/")
        assert start <= layout.of(key) < end
        assert layout.follow <= layout.of(key) < layout.follow_end
    for own in (layout.bump, layout.time, layout.end_of(f"{strip}/a")):
        assert layout.follow <= own < layout.follow_end
        assert layout.key(own) is None
    assert not layout.follow <= layout.clients < layout.follow_end
    assert layout.key(prefix.encode() + b"/\xff") is None


def test_a_slot_is_used_again_only_after_its_write_was_settled() -> None:
    slots = transactions.Slots(Layout("/r"), "me")
    first, number = slots.take()
    second, other = slots.take()
    assert first.key != second.key and number != other
    slots.give_back(first, 7)
    again, _ = slots.take()
    assert (again.key, again.revision) == (first.key, 7)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("UNAVAILABLE", "etcdserver: leader changed", Again),
        ("UNAVAILABLE", "etcdserver: request timed out", Again),
        ("DEADLINE_EXCEEDED", "", Again),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Again),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", StoreUnavailable),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", ValueTooLarge),
        ("PERMISSION_DENIED", "etcdserver: permission denied", StoreUnavailable),
        ("FAILED_PRECONDITION", "etcdserver: something else", StoreUnavailable),
    ],
)
def test_what_etcd_says_is_told_by_what_the_caller_can_do(code: str, text: str, kind: type[Exception]) -> None:
    assert type(judge(code, text)) is kind


@pytest.mark.parametrize(
    ("by_time", "used", "floor"),
    [(None, 10, 0), (5, 10, 0), (30, 10, 30), (None, 200, 20), (12, 200, 20), (50, 200, 50)],
)
def test_history_goes_by_its_age_and_when_the_database_is_too_big(by_time: int | None, used: int, floor: int) -> None:
    retention = Retention(size_bytes=100)
    assert plan_compaction(oldest=10, current=90, by_time=by_time, used_bytes=used, retention=retention) == floor


async def test_a_member_that_falls_silent_is_followed_no_longer(tmp_path: Path) -> None:
    import signal

    async with running(tmp_path, 3) as members:
        store = await EtcdStore.open(EtcdSettings(endpoints=members.endpoints, call_seconds=20), clock=SystemClock())
        other = await EtcdStore.open(
            EtcdSettings(endpoints=members.endpoints[1:], call_seconds=20), clock=SystemClock()
        )
        told: list[int] = []
        store.add_listener("/", lambda change: told.append(change.revision))
        made = [await other.commit("/a", None, b"0")]
        await store.sync()
        members.all[0].send(signal.SIGSTOP)
        made += [await other.commit("/a", None, b"%d" % number) for number in range(5)]
        await store.sync()
        assert told == made
        members.all[0].send(signal.SIGCONT)
        await asyncio.gather(store.close(), other.close())


class Dark:
    """Members of whom only ``answers`` answers; the others use up what time they are given, and refuse nothing."""

    def __init__(self, client: Client, answers: str) -> None:
        self.answers, self.asked, self.tired = answers, list[tuple[str, float]](), 100
        client._once = self.once  # type: ignore[method-assign]

    async def once(self, member: str, path: str, request: Any, seconds: float) -> Any:
        self.asked.append((member, round(seconds, 1)))
        if member == self.answers:
            return pb.TxnResponse()
        if len(self.asked) == self.tired:
            raise StoreUnavailable("enough")
        raise Again("it takes its time")


async def test_a_member_that_has_not_answered_since_calls_go_there_is_waited_for_less() -> None:
    """While a leader is elected calls move on to a member whose machine may be dark: nobody loses a second there."""
    client = Client(EtcdSettings(endpoints=("a:1", "b:1", "c:1"), prefix="/x", call_seconds=15))
    members = Dark(client, "c:1")
    await client.call(TXN, pb.TxnRequest())
    await client.call(TXN, pb.TxnRequest())
    assert members.asked == [("a:1", 1.0), ("b:1", 0.6), ("c:1", 1.0), ("c:1", 1.0)]
    members.answers, members.asked = "b:1", []
    client.distrust("c:1")  # another call has found out
    await client.call(TXN, pb.TxnRequest())
    assert members.asked == [("a:1", 0.4), ("b:1", 0.6)]


async def test_the_only_member_there_is_gets_its_time() -> None:
    client = Client(EtcdSettings(endpoints=("a:1",), prefix="/x", call_seconds=15))
    members = Dark(client, "nobody")
    members.tired = 3
    with pytest.raises(StoreUnavailable):
        await client.call(TXN, pb.TxnRequest())
    assert [seconds for _, seconds in members.asked] == [1.0, 1.5, 2.0]
