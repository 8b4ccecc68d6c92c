"""etcd's API v3 over a store, call by call, as etcd answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sampan.api.clock import FixedClock
from sampan.store.archive.format import verify
from sampan.store.endpoint.keys import KeyRange, successor
from sampan.store.endpoint.serving import Endpoint
from sampan.store.endpoint.watches import WatchStream
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.memory import MemoryStore
from sampan.store.sqlite import SqliteStore

Compare = pb.Compare


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


def put(key: str, value: str = "", **fields: Any) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value.encode(), **fields))


def get(key: str) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key.encode()))


def delete(key: str, **fields: Any) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key.encode(), **fields))


def keys(answer: Any) -> list[str]:
    return [kv.key.decode() for kv in answer.kvs]


async def test_a_key_has_its_revisions_and_value(client: Any) -> None:
    assert await client.put("a", "1") == 1
    assert await client.put("a", "2") == 2
    answer = await client.get("a")
    (kv,) = answer.kvs
    assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (b"2", 1, 2, 2)
    assert (answer.count, answer.more, answer.header.revision) == (1, False, 2)
    assert (await client.get("a", revision=1)).kvs[0].value == b"1"
    assert (await client.get("b")).count == 0


@pytest.mark.parametrize(
    ("key", "end", "found"),
    [
        (b"a/", b"a0", ["a/1", "a/2", "a/é"]),
        (b"a/2", b"b", ["a/2", "a/é"]),
        (b"a/2", b"\0", ["a/2", "a/é", "b"]),
        (b"\0", b"\0", ["a", "a/1", "a/2", "a/é", "b"]),
        (b"a", b"a/2", ["a", "a/1"]),
        (b"a/\xc3", b"a/\xc4", ["a/é"]),
        (b"a/\xff", b"\0", ["b"]),
        (b"b", b"a", []),
        (b"\xff", b"", []),
    ],
)
async def test_a_range_is_from_a_key_to_another(client: Any, key: bytes, end: bytes, found: list[str]) -> None:
    for name in ("a", "a/1", "a/2", "a/é", "b"):
        await client.put(name)
    assert keys(await client.call("Range", key=key, range_end=end)) == found
    counted = await client.call("Range", key=key, range_end=end, count_only=True)
    assert (counted.count, len(counted.kvs)) == (len(found), 0)
    limited = await client.call("Range", key=key, range_end=end, limit=1)
    assert (keys(limited), limited.count, limited.more) == (found[:1], len(found), len(found) > 1)


async def test_answers_are_sorted_filtered_and_without_values_on_request(client: Any) -> None:
    for key, value in (("a", "3"), ("b", "1"), ("c", "2"), ("a", "4")):
        await client.put(key, value)
    everything = {"key": b"\0", "range_end": b"\0"}
    assert keys(await client.call("Range", **everything, sort_order="DESCEND")) == ["c", "b", "a"]
    by_value = await client.call("Range", **everything, sort_target="VALUE", sort_order="ASCEND", limit=2)
    assert (keys(by_value), by_value.more, by_value.count) == (["b", "c"], True, 3)
    assert keys(await client.call("Range", **everything, sort_target="MOD", sort_order="DESCEND")) == ["a", "c", "b"]
    assert keys(await client.call("Range", **everything, min_mod_revision=3)) == ["a", "c"]
    assert keys(await client.call("Range", **everything, max_create_revision=2)) == ["a", "b"]
    assert all(not kv.value for kv in (await client.call("Range", **everything, keys_only=True)).kvs)
    code, words = await refusal(client.call("Range", **everything, sort_target="VERSION"))
    assert (code, "version" in words) == (grpc.StatusCode.UNIMPLEMENTED, True)


async def test_an_answer_of_many_parts_is_whole_and_in_order(client: Any, served: Any) -> None:
    await asyncio.gather(*(served.commit(f"/n/{n:04}", 0, b"%d" % (n * 7919 % 1300) * 400) for n in range(1300)))
    found = await client.get("/n/", range_end=b"/n0")
    assert [kv.key.decode() for kv in found.kvs] == [f"/n/{n:04}" for n in range(1300)]
    assert (found.count, found.more, found.header.revision) == (1300, False, served.revision)
    order = {"sort_target": pb.RangeRequest.VALUE, "sort_order": pb.RangeRequest.DESCEND}
    values = [kv.value for kv in (await client.get("/n/", range_end=b"/n0", **order)).kvs]
    assert values == sorted(values, reverse=True) and len(values) == 1300


async def test_what_an_answer_may_hold_is_bounded(client: Any, served: Any) -> None:
    for n in range(8):
        await served.commit(f"/n/{n}", 0, bytes(300_000))
    client.endpoint._largest_answer = 2_000_000
    client.endpoint._transactions._largest_answer = 250_000
    everything = {"key": b"/n/", "range_end": b"/n0"}
    for call in (client.call("Range", **everything), client.call("Txn", success=[get("/n/1")])):
        code, words = await refusal(call)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "ask with a limit" in words
    assert len((await client.call("Range", **everything, limit=5)).kvs) == 5
    assert len((await client.call("Range", **everything, keys_only=True)).kvs) == 8
    both = [delete("/n/1", prev_kv=True), put("/n/2")]
    assert "nothing was written" in (await refusal(client.call("Txn", success=both)))[1]
    assert (
        "writes of the same transaction are done"
        in (await refusal(client.call("Txn", success=[put("/n/2"), get("/n/1")])))[1]
    )
    code, words = await refusal(client.call("DeleteRange", **everything, prev_kv=True))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "nothing was written" in words
    assert (await client.call("Range", **everything, count_only=True)).count == 8, "it is refused before it begins"
    assert (await client.call("DeleteRange", **everything)).deleted == 8


async def test_what_a_refused_transaction_has_written_ends_with_its_lease(client: Any, served: Any) -> None:
    await served.commit("/n/1", 0, bytes(300_000))
    client.endpoint._transactions._largest_answer = 250_000
    lease = (await client.call("LeaseGrant", TTL=60)).ID
    held = pb.RequestOp(request_put=pb.PutRequest(key=b"/held", value=b"x", lease=lease))
    code, words = await refusal(client.call("Txn", success=[get("/n/1"), held]))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "writes of the same transaction are done" in words
    assert [kv.lease for kv in (await client.get("/held")).kvs] == [lease]
    await client.call("LeaseRevoke", ID=lease)
    assert (await client.get("/held")).count == 0


async def test_a_put_tells_what_was_there_and_can_leave_it(client: Any) -> None:
    await client.put("a", "1")
    answer = await client.call("Put", key=b"a", value=b"2", prev_kv=True)
    assert (answer.prev_kv.value, answer.header.revision) == (b"1", 2)
    await client.call("Put", key=b"a", ignore_value=True)
    assert (await client.get("a")).kvs[0].value == b"2"
    assert await refusal(client.call("Put", key=b"x", ignore_value=True)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "etcdserver: key not found",
    )
    assert (await refusal(client.call("Put", value=b"x")))[1] == "etcdserver: key is not provided"
    assert (await refusal(client.call("Put", key=b"\xff")))[0] == grpc.StatusCode.UNIMPLEMENTED
    assert (await refusal(client.call("Put", key=b"a", value=bytes(1600 * 1024))))[
        1
    ] == "etcdserver: request is too large"


async def test_deletions_tell_how_many_and_what(client: Any) -> None:
    for n in range(150):
        await client.put(f"k{n:03}", str(n))
    assert (await client.call("DeleteRange", key=b"none")).deleted == 0
    one = await client.call("DeleteRange", key=b"k000", prev_kv=True)
    assert (one.deleted, one.prev_kvs[0].value) == (1, b"0")
    answer = await client.call("DeleteRange", key=b"k", range_end=b"l", prev_kv=True)
    assert (answer.deleted, len(answer.prev_kvs)) == (149, 149)
    assert answer.header.revision == 300


async def test_a_transaction_compares_and_does_one_of_two_things(client: Any) -> None:
    await client.put("a", "1")
    held = Compare(key=b"a", target="MOD", result="EQUAL", mod_revision=1)
    answer = await client.call("Txn", compare=[held], success=[get("a"), put("a", "2"), get("a")], failure=[])
    assert answer.succeeded
    assert [r.response_range.kvs[0].value for r in (answer.responses[0], answer.responses[2])] == [b"1", b"2"]
    answer = await client.call("Txn", compare=[held], success=[put("a", "3")], failure=[get("a"), get("b")])
    assert not answer.succeeded
    assert [r.response_range.count for r in answer.responses] == [1, 0]
    assert (await client.get("a")).kvs[0].value == b"2"


@pytest.mark.parametrize(
    ("compare", "held"),
    [
        (Compare(key=b"no", target="VERSION", result="EQUAL", version=0), True),
        (Compare(key=b"a", target="VERSION", result="EQUAL", version=0), False),
        (Compare(key=b"a", target="VERSION", result="EQUAL", version=1), True),
        (Compare(key=b"b", target="VERSION", result="GREATER", version=1), True),
        (Compare(key=b"b", target="VERSION", result="LESS", version=2), False),
        (Compare(key=b"a", target="CREATE", result="NOT_EQUAL", create_revision=0), True),
        (Compare(key=b"no", target="MOD", result="LESS", mod_revision=1), True),
        (Compare(key=b"a", target="VALUE", result="GREATER", value=b"0"), True),
        (Compare(key=b"no", target="VALUE", result="NOT_EQUAL", value=b"0"), False),
        (Compare(key=b"a", target="LEASE", result="EQUAL", lease=0), True),
    ],
    ids=lambda value: "" if isinstance(value, bool) else f"{value.key.decode()}-{value.target}-{value.result}",
)
async def test_comparisons(client: Any, compare: pb.Compare, held: bool) -> None:
    await client.put("a", "1")
    await client.put("b", "1")
    await client.put("b", "2")
    assert (await client.call("Txn", compare=[compare])).succeeded == held


async def test_the_writes_of_a_transaction_are_one_step_at_revisions_in_a_row(client: Any, served: Any) -> None:
    await client.put("old")
    answer = await client.call("Txn", success=[put("a"), delete("old", prev_kv=True), put("b"), delete("none")])
    assert answer.header.revision == served.revision == 4
    assert [answer.responses[n].response_delete_range.deleted for n in (1, 3)] == [1, 0]
    assert [change.key for change in await served.changes("", 1, 4, 10)] == ["a", "old", "b"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"success": [put("a"), put("a")]}, "etcdserver: duplicate key given in txn request"),
        ({"success": [get("a")] * 129}, "etcdserver: too many operations in txn request"),
        ({"success": [pb.RequestOp(request_txn=pb.TxnRequest())]}, "a transaction inside a transaction"),
        ({"success": [delete("a", range_end=b"b")]}, "a transaction deletes single keys"),
        ({"compare": [Compare(key=b"a", range_end=b"b")]}, "a comparison of a range of keys"),
        ({"compare": [Compare(key=b"a", version=7)]}, "versions are told apart as 0"),
        ({"compare": [Compare()]}, "etcdserver: key is not provided"),
    ],
    ids=["twice", "many", "nested", "range", "compared-range", "version", "no-key"],
)
async def test_transactions_that_are_not_done_are_refused_by_name(
    client: Any, fields: dict[str, Any], words: str
) -> None:
    assert words in (await refusal(client.call("Txn", **fields)))[1]
    assert (await client.get("a")).header.revision == 0


async def test_compacted_and_future_revisions_are_refused_in_etcds_words(client: Any) -> None:
    for _ in range(5):
        await client.put("a")
    await client.call("Compact", revision=3)
    assert await refusal(client.get("a", revision=2)) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision has been compacted",
    )
    assert (await refusal(client.get("a", revision=9)))[1] == "etcdserver: mvcc: required revision is a future revision"
    assert (await client.get("a", revision=3)).kvs[0].mod_revision == 3


async def test_a_watch_tells_what_was_and_what_comes_in_order_without_gap(client: Any) -> None:
    for n in range(3):
        await client.put(f"a{n}")
    watching = client.watch()
    created = await watching.create("a", "b", start_revision=2)
    assert (created.created, created.watch_id) == (True, 0)
    assert await watching.events(2) == [("PUT", "a1", 2), ("PUT", "a2", 3)]
    await client.put("c")
    await client.put("a3")
    await client.call("DeleteRange", key=b"a0")
    assert await watching.events(2) == [("PUT", "a3", 5), ("DELETE", "a0", 6)]


async def test_a_watch_leaves_out_what_it_was_asked_to_and_tells_what_was_before(client: Any) -> None:
    await client.put("a", "1")
    watching = client.watch()
    await watching.create("a", prev_kv=True, filters=["NOPUT"])
    await watching.create("a", prev_kv=True, filters=["NODELETE"])
    await client.put("a", "2")
    put_seen = await watching.read()
    assert (put_seen.watch_id, put_seen.events[0].prev_kv.value) == (1, b"1")
    await client.call("DeleteRange", key=b"a")
    deleted = await watching.read()
    assert (deleted.watch_id, deleted.events[0].prev_kv.value, deleted.events[0].kv.value) == (0, b"2", b"")


async def test_many_changes_reach_a_watch_that_reads_late(client: Any, served: Any) -> None:
    watching = client.watch()
    await watching.create("", "\0")
    # More than wait for one watch: it goes on from history.
    await asyncio.gather(*(served.commit(f"k{n}", None, bytes(2000)) for n in range(1200)))
    assert [revision for _, _, revision in await watching.events(1200)] == list(range(1, 1201))


async def test_a_watch_from_a_compacted_revision_is_cancelled_with_where_to_begin(client: Any) -> None:
    for _ in range(5):
        await client.put("a")
    await client.call("Compact", revision=4)
    watching = client.watch()
    await watching.create("a", start_revision=2)
    answer = await watching.read()
    assert (answer.canceled, answer.compact_revision) == (True, 5)
    await watching.create("a", start_revision=5)
    assert await watching.events(1) == [("PUT", "a", 5)]


async def test_watches_are_cancelled_and_numbers_are_not_given_twice(client: Any) -> None:
    watching = client.watch()
    await watching.create("a", watch_id=7)
    again = await watching.create("a", watch_id=7)
    assert (again.canceled, "duplicate watch ID" in again.cancel_reason) == (True, True)
    await watching.cancel(7)
    assert (await watching.read()).canceled
    await watching.create("b")
    await client.put("a")
    await client.put("b")
    assert await watching.events(1) == [("PUT", "b", 2)]


async def test_progress_is_told_when_asked_and_by_itself(client: Any) -> None:
    await client.put("x")
    watching = client.watch()
    await watching.create("a")
    await watching.ask_progress()
    told = await watching.read()
    assert (told.watch_id, told.header.revision, len(told.events)) == (-1, 1, 0)
    await watching.create("b", progress_notify=True)
    await client.put("x")
    while (told := await watching.read()).header.revision < 2:
        pass
    assert (told.watch_id, len(told.events)) == (1, 0)


async def test_keys_end_with_their_lease(client: Any) -> None:
    lease = await client.call("LeaseGrant", TTL=60)
    await client.put("a", lease=lease.ID)
    await client.put("b", lease=lease.ID)
    await client.put("b")  # and is nobody's any more
    assert (await client.get("a")).kvs[0].lease == lease.ID
    told = await client.call("LeaseTimeToLive", ID=lease.ID, keys=True)
    assert (told.grantedTTL, list(told.keys)) == (60, [b"a"])
    assert (await client.keep_alive(lease.ID)).TTL == 60
    assert [each.ID for each in (await client.call("LeaseLeases")).leases] == [lease.ID]
    await client.call("LeaseRevoke", ID=lease.ID)
    assert keys(await client.call("Range", key=b"\0", range_end=b"\0")) == ["b"]
    assert (await client.call("LeaseTimeToLive", ID=lease.ID)).TTL == -1
    assert (await client.keep_alive(lease.ID)).TTL == 0


async def test_a_lease_that_nobody_keeps_ends(client: Any) -> None:
    lease = await client.call("LeaseGrant", TTL=1, ID=5)
    assert lease.ID == 5
    watching = client.watch()
    await watching.create("a")
    await client.put("a", lease=5)
    assert [kind for kind, _, _ in await watching.events(2)] == ["PUT", "DELETE"]
    assert (await refusal(client.put("a", lease=5)))[1] == "etcdserver: requested lease not found"


async def test_wrong_leases_are_refused_in_etcds_words(client: Any) -> None:
    await client.call("LeaseGrant", TTL=60, ID=5)
    assert (await refusal(client.call("LeaseGrant", TTL=60, ID=5)))[1] == "etcdserver: lease already exists"
    assert (await refusal(client.call("LeaseGrant", TTL=10**10)))[1] == "etcdserver: too large lease TTL"
    assert (await refusal(client.call("LeaseRevoke", ID=9)))[1] == "etcdserver: requested lease not found"


async def test_a_put_can_leave_the_lease(client: Any) -> None:
    await client.call("LeaseGrant", TTL=60, ID=5)
    await client.put("a", lease=5)
    await client.call("Put", key=b"a", value=b"2", ignore_lease=True)
    (kv,) = (await client.get("a")).kvs
    assert (kv.value, kv.lease) == (b"2", 5)


async def test_a_snapshot_is_a_backup_with_the_hash_that_etcd_appends(client: Any, served: Any, tmp_path: Path) -> None:
    await client.put("a", "1")
    if not isinstance(served, SqliteStore):
        with pytest.raises(grpc.aio.AioRpcError, match="a store in memory has no snapshots"):
            await client.snapshot()
        return
    data, remaining = await client.snapshot()
    assert len(data) % 512 == 32
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    assert remaining == sorted(remaining, reverse=True)
    assert remaining[-1] == 0
    (tmp_path / "snapshot").write_bytes(data)
    (record,) = verify(tmp_path / "snapshot").read_records()
    assert (record.key, record.value) == ("a", b"1")
    assert not list((tmp_path / "store").glob(".snapshot*"))


async def test_what_a_killed_process_left_of_a_snapshot_is_removed(tmp_path: Path, clock: FixedClock) -> None:
    store = await SqliteStore.open(tmp_path / "store", clock=clock)
    left = tmp_path / "store" / ".snapshot-abc"
    left.mkdir()
    (left / "backup").write_bytes(b"half")
    endpoint = Endpoint(store, identity="test", directory=tmp_path / "store")
    async with endpoint.listening("127.0.0.1:0"):
        assert not left.exists()
    endpoint.close()
    await store.close()


async def test_what_is_told_of_the_server(client: Any) -> None:
    await client.put("a")
    status = await client.call("Status")
    assert (status.leader, status.raftIndex) == (status.header.member_id, 1)
    (member,) = (await client.call("MemberList")).members
    assert member.clientURLs[0].startswith("http://127.0.0.1:")
    before = (await client.call("HashKV")).hash
    await client.put("a", "other")
    assert (await client.call("HashKV")).hash != before
    assert (await client.call("HashKV", revision=1)).hash == before
    await client.call("Defragment")
    assert not (await client.call("Alarm")).alarms


@pytest.mark.parametrize("name", ["MemberAdd", "MemberRemove", "MoveLeader", "AuthEnable", "UserAdd"])
async def test_what_one_server_cannot_do_is_refused_by_name(client: Any, name: str) -> None:
    code, words = await refusal(client.call(name))
    assert (code, name in words) == (grpc.StatusCode.UNIMPLEMENTED, True)


async def test_nothing_listens_for_other_machines_without_certificates(tmp_path: Path) -> None:
    store = MemoryStore()
    endpoint = Endpoint(store, identity="test")
    with pytest.raises(ValueError, match="open to other machines"):
        async with endpoint.listening("0.0.0.0:0"):
            pass
    endpoint.close()
    await store.close()


@pytest.mark.parametrize(
    ("prefix", "after"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff", b"\0"), ("é".encode(), b"\xc3\xaa")]
)
def test_after_a_prefix_comes_its_successor(prefix: bytes, after: bytes) -> None:
    assert successor(prefix) == after


def test_a_range_knows_what_its_keys_start_with() -> None:
    assert KeyRange.of(b"/registry/pods/", b"/registry/pods0").prefix == "/registry/pods/"
    assert KeyRange.of(b"/registry/pods/a", b"/registry/pods0").prefix == "/registry/pods"
    assert KeyRange.of("é".encode(), "è".encode()).prefix == ""
    assert KeyRange.of(b"a", b"\0").prefix == ""


async def test_who_asks_for_progress_and_reads_no_answer_is_read_no_further(served: Any) -> None:
    read = 0

    async def requests() -> AsyncIterator[pb.WatchRequest]:
        nonlocal read
        for _ in range(2000):
            read += 1
            yield pb.WatchRequest(progress_request=pb.WatchProgressRequest())
            await asyncio.sleep(0)

    async def never(answer: pb.WatchResponse) -> None:
        await asyncio.Event().wait()

    stream = WatchStream(served, lambda revision: pb.ResponseHeader(revision=revision), 60.0)
    task = asyncio.create_task(stream.run(requests(), never))
    for _ in range(5000):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert 16 < read < 100
