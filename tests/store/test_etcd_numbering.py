"""Where a store was moved to etcd, its revisions are etcd's and an offset, which nobody above the client sees."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.clock import SystemClock
from sampan.store.archive.etcdside import EtcdSide
from sampan.store.archive.records import ArchiveError, Record
from sampan.store.etcd import numbering
from sampan.store.etcd.client import Client
from sampan.store.etcd.errors import PastRevision
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore
from sampan.store.protocol import StoreError, StoreUnavailable

FAR = 5_000_000_000
PUT = "/etcdserverpb.KV/Put"
_prefixes = (f"/counted{n}" for n in itertools.count())


@pytest.fixture
def settings(etcd_endpoint: str) -> EtcdSettings:
    return EtcdSettings(endpoints=(etcd_endpoint,), prefix=next(_prefixes), call_seconds=5)


@pytest.fixture
async def side(settings: EtcdSettings) -> AsyncIterator[EtcdSide]:
    client = Client(settings)
    yield EtcdSide(client, Layout(settings.prefix))
    await client.close()


async def open_store(settings: EtcdSettings) -> tuple[EtcdStore, asyncio.Future[StoreError]]:
    fatal: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
    told = lambda error: None if fatal.done() else fatal.set_result(error)  # noqa: E731
    return await EtcdStore.open(settings, clock=SystemClock(), on_fatal=told), fatal


async def test_every_server_of_an_etcd_counts_alike_and_a_restart_goes_on(
    side: EtcdSide, settings: EtcdSettings
) -> None:
    await side.claim(b"m", None, FAR)
    stores = [(await open_store(settings))[0] for _ in range(2)]
    made = [await stores[n % 2].commit("/a", None, b"%d" % n) for n in range(6)]
    assert made[0] > FAR and made == sorted(made)
    third, _ = await open_store(settings)
    for store in (*stores, third):
        await store.sync()
        entry = await store.get("/a")
        assert entry is not None and (entry.created, entry.revision) == (made[0], made[-1])
        assert [change.revision for change in await store.changes("/", made[0], made[-1], 100)] == made[1:]
        await store.close()


async def test_who_opened_an_etcd_before_a_store_was_moved_there_writes_no_more_and_ends(
    side: EtcdSide, settings: EtcdSettings
) -> None:
    (writer, fatal), (reader, told) = [await open_store(settings) for _ in range(2)]
    writer._feed._apply = lambda revision, events: None  # it has not heard of it yet
    await side.claim(b"m", None, FAR)
    with pytest.raises(StoreUnavailable, match="has to start anew"):
        await writer.commit("/a", 0, b"")
    assert (await side.extent()).records == 0
    for ended in (fatal, told):
        assert "counted from elsewhere" in str(await asyncio.wait_for(ended, 30))
    await asyncio.gather(writer.close(), reader.close())


async def test_an_etcd_is_claimed_once_and_only_while_nothing_of_a_store_is_there(
    side: EtcdSide, settings: EtcdSettings
) -> None:
    for key in ("/a", "/ranges/x"):
        other = EtcdSettings(endpoints=settings.endpoints, prefix=next(_prefixes), strip="/registry")
        store, _ = await open_store(other)
        await store.commit(f"/registry{key}" if key == "/a" else key, 0, b"")
        await store.close()
        full = EtcdSide(client := Client(other), Layout(other.prefix, other.strip))
        with pytest.raises(
            ArchiveError,
            match=f"holds entries already .1, the first is {other.prefix}.*etcdctl del --prefix {other.prefix}/",
        ):
            await full.claim(b"m", None, FAR)
        await client.close()
    async with asyncio.TaskGroup() as group:  # of two moves at once one is the first
        second = Client(settings)
        moves = [
            group.create_task(claimed(each, name))
            for each, name in ((side, b"one"), (EtcdSide(second, Layout(settings.prefix)), b"two"))
        ]
    await second.close()
    won = [name for move in moves if (name := move.result())]
    assert won and await side.marker() in won


async def claimed(side: EtcdSide, name: bytes) -> bytes:
    try:
        await side.claim(name, None, FAR)
    except ArchiveError as error:
        assert "at the same time" in str(error)
        return b""
    return name


async def test_what_an_earlier_try_left_goes_and_revisions_never_go_back(
    side: EtcdSide, settings: EtcdSettings
) -> None:
    await side.claim(b"first", None, FAR)
    written = Record(1, "/a", 1, 0, 0, int(SystemClock().now().timestamp() * 1000) + 100_000, b"x")
    await side.write_all([written], {}, lambda done: None)
    last = (await side.extent()).revision
    assert (await side.extent()).records == 1 and len(await side.ends("/")) == 1
    await side.claim(b"second", b"first", 10)
    assert (await side.extent()).records == 0 and await side.ends("/") == {}
    assert (await side.extent()).revision > last, "an offset does not become smaller"


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"0", b"9" * 19])
async def test_an_offset_that_is_none_keeps_a_server_from_starting_and_names_the_key(
    settings: EtcdSettings, value: bytes
) -> None:
    client = Client(settings)
    await client.call(PUT, pb.PutRequest(key=Layout(settings.prefix).offset, value=value))
    with pytest.raises(StoreUnavailable, match=f"{settings.prefix}-sampan/offset is no offset"):
        await open_store(settings)
    await client.close()


def test_a_message_is_turned_as_a_copy_for_it_may_be_sent_again() -> None:
    mod = pb.Compare.MOD
    ask = pb.TxnRequest(
        compare=[pb.Compare(target=mod, mod_revision=at) for at in (0, 3, 100, 107)],
        success=[pb.RequestOp(request_range=pb.RangeRequest(revision=105, max_mod_revision=50))],
        failure=[pb.RequestOp(request_txn=pb.TxnRequest(compare=[pb.Compare(target=mod, mod_revision=110)]))],
    )
    before = ask.SerializeToString()
    turned = numbering.outgoing(ask, 100)
    assert ask.SerializeToString() == before
    assert [each.mod_revision for each in turned.compare] == [0, 1, 1, 7], "what was before is never at a key now"
    asked = turned.success[0].request_range
    assert (asked.revision, asked.max_mod_revision) == (5, 1)
    assert turned.failure[0].request_txn.compare[0].mod_revision == 10


@pytest.mark.parametrize(
    "ask",
    [
        pb.RangeRequest(revision=100),
        pb.CompactionRequest(revision=1),
        pb.WatchRequest(create_request=pb.WatchCreateRequest(start_revision=100)),
    ],
)
def test_what_was_before_this_etcd_is_past(ask: Any) -> None:
    with pytest.raises(PastRevision, match="begins at 101"):
        numbering.outgoing(ask, 100)


def test_what_etcd_says_comes_in_the_stores_revisions() -> None:
    kv = pb.KeyValue(mod_revision=7, create_revision=3)
    answer = pb.WatchResponse(
        header=pb.ResponseHeader(revision=9),
        compact_revision=2,
        events=[pb.Event(kv=kv, prev_kv=kv), pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(mod_revision=8))],
    )
    numbering.incoming(answer, 100)
    put, deleted = answer.events
    assert (answer.header.revision, answer.compact_revision) == (109, 102)
    assert [(each.mod_revision, each.create_revision) for each in (put.kv, put.prev_kv)] == [(107, 103)] * 2
    assert (deleted.kv.mod_revision, deleted.kv.create_revision, deleted.HasField("prev_kv")) == (108, 0, False)
