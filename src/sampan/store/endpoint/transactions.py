"""Put, DeleteRange, Txn and Compact: what they compare and write, each as one step of the store.

A transaction's writes get revisions in a row, one each, where etcd gives all of them one. They are durable together and
nobody's commit comes in between. What it reads, it reads as of its own place among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from sampan.store.embedded import Commit, EmbeddedStore
from sampan.store.endpoint.keys import KeyRange, text
from sampan.store.endpoint.leases import Lease, Leases
from sampan.store.endpoint.ranges import Ranges, Room, key_value
from sampan.store.endpoint.refusals import invalid, no_key, unserved
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import Compacted, Entry, RevisionConflict

_MOST_OPERATIONS = 128  # etcd's
_LARGEST_REQUEST = 1536 * 1024  # etcd's
#: keys that one deletion of a range takes in one step; more take several
_STEP = 128
#: A write that lost a race so often is given up.
_TRIES = 100

Op: TypeAlias = "pb.RangeRequest | pb.PutRequest | pb.DeleteRangeRequest"


class Transactions:
    def __init__(self, store: EmbeddedStore, ranges: Ranges, leases: Leases, largest_answer: int) -> None:
        self._store, self._ranges, self._leases = store, ranges, leases
        self._largest_answer = largest_answer

    async def put(self, request: pb.PutRequest) -> tuple[pb.PutResponse, int]:
        """The answer and its revision. Raises Refusal, StoreError."""
        check_size(request)
        check_op(request)
        (answer,), revision = await self._run([request])
        return answer.response_put, revision

    async def delete_range(self, request: pb.DeleteRangeRequest) -> tuple[pb.DeleteRangeResponse, int]:
        """Of more keys than one step takes, each step is one; the answer counts all."""
        check_op(request)
        if not request.range_end:
            (single,), revision = await self._run([request])
            return single.response_delete_range, revision
        answer, revision = pb.DeleteRangeResponse(), self._store.revision
        wanted = KeyRange.of(request.key, request.range_end)
        keys, room = [], Room(self._largest_answer)
        async for entry in self._ranges.entries(wanted):
            if request.prev_kv:  # before anything is deleted
                room.take(len(entry.key) + len(entry.value))
            keys.append(entry.key)
        for begin in range(0, len(keys), _STEP):
            step = [
                pb.DeleteRangeRequest(key=key.encode(), prev_kv=request.prev_kv) for key in keys[begin : begin + _STEP]
            ]
            answers, revision = await self._run(step)
            for each in answers:
                answer.deleted += each.response_delete_range.deleted
                answer.prev_kvs.extend(each.response_delete_range.prev_kvs)
        return answer, revision

    async def txn(self, request: pb.TxnRequest) -> tuple[pb.TxnResponse, int]:
        check_size(request)
        branches = [_ops(request.success), _ops(request.failure)]
        if max(len(request.compare), *(len(branch) for branch in branches)) > _MOST_OPERATIONS:
            raise invalid("etcdserver: too many operations in txn request")
        for branch in branches:
            check_branch(branch)
        compared = [_checked(compare) for compare in request.compare]
        # Of both: which one it is to be is only known once all that is under way is settled.
        written = [
            key for branch in branches for op in branch if not isinstance(op, pb.RangeRequest) for key in [_key(op)]
        ]
        for _ in range(_TRIES):
            await self._store.settled([*compared, *written])
            found = [self._newest(key) for key in compared]
            held = all(
                holds(each, entry, self._leases.of(key))
                for each, entry, key in zip(request.compare, found, compared, strict=True)
            )
            try:
                answers, revision = await self._once(branches[0] if held else branches[1])
            except RevisionConflict:
                continue
            return pb.TxnResponse(succeeded=held, responses=answers), revision
        raise unserved(f"the transaction lost {_TRIES} races in a row")

    async def compact(self, request: pb.CompactionRequest) -> None:
        """As etcd, it is an error where that was done before."""
        if request.revision <= (oldest := self._store.oldest) and oldest:
            raise Compacted(request.revision, oldest)
        await self._store.compact(request.revision)

    # --- one step ---------------------------------------------------------------------------------------------------

    async def _run(self, ops: Sequence[Op]) -> tuple[list[pb.ResponseOp], int]:
        for _ in range(_TRIES):
            await self._store.settled([_key(op) for op in ops])
            try:
                return await self._once(ops)
            except RevisionConflict:
                continue
        raise unserved(f"the write lost {_TRIES} races in a row")

    async def _once(self, ops: Sequence[Op]) -> tuple[list[pb.ResponseOp], int]:
        """Everything up to the commit happens in one turn of the loop. Raises RevisionConflict: again."""
        before = {_key(op): self._newest(_key(op)) for op in ops if not isinstance(op, pb.RangeRequest)}
        had = {key: self._leases.of(key) for key in before}
        base = self._store.revision
        leases = {_key(op): self._lease_of(op) for op in ops if isinstance(op, pb.PutRequest)}
        commits = [commit for op in ops for commit in self._commits(op, before, leases)]
        room = Room(self._largest_answer)
        for op in ops:
            if not isinstance(op, pb.RangeRequest) and op.prev_kv and (was := before[_key(op)]):
                room.take(len(was.value))
        revisions = await self._store.commit_all(commits) if commits else []
        if revisions:
            base = revisions[0] - 1
        # At once: what is read after this may be refused, or its caller be gone, and the keys still end with the lease.
        for commit, revision in zip(commits, revisions, strict=True):
            self._attach(commit.key, leases.get(commit.key), revision)
        answers, done, room.written = [], 0, bool(revisions)
        for op in ops:
            if isinstance(op, pb.RangeRequest):
                read = await self._ranges.answer(op, base + done, room)
                answers.append(pb.ResponseOp(response_range=read))
                continue
            entry = before[_key(op)]
            previous = key_value(entry, had[entry.key]) if op.prev_kv and entry else None
            if isinstance(op, pb.PutRequest):
                done += 1
                answers.append(pb.ResponseOp(response_put=pb.PutResponse(prev_kv=previous)))
            else:
                done += bool(entry)
                deleted = pb.DeleteRangeResponse(deleted=int(bool(entry)), prev_kvs=[previous] if previous else ())
                answers.append(pb.ResponseOp(response_delete_range=deleted))
        return answers, base + done

    def _lease_of(self, op: pb.PutRequest) -> Lease | None:
        """Raises Refusal: there is no such lease."""
        ident = self._leases.of(_key(op)) if op.ignore_lease else op.lease
        return self._leases.find(ident) if ident else None

    def _commits(self, op: Op, before: dict[str, Entry | None], leases: dict[str, Lease | None]) -> Iterable[Commit]:
        if isinstance(op, pb.RangeRequest):
            return
        key = _key(op)
        entry = before[key]
        expected = entry.revision if entry else 0
        if isinstance(op, pb.DeleteRangeRequest):
            if entry is not None:
                yield Commit(key, expected, None)
            return
        if (op.ignore_value or op.ignore_lease) and entry is None:
            raise invalid("etcdserver: key not found")
        lease = leases[key]
        ttl = self._leases.ttl_of_commit(lease) if lease else None
        yield Commit(key, expected, entry.value if op.ignore_value and entry else op.value, ttl)

    def _attach(self, key: str, lease: Lease | None, revision: int) -> None:
        """Unless somebody has written the key again since."""
        entry = self._newest(key)
        if lease is not None and entry is not None and entry.revision == revision:
            self._leases.attach(key, lease)

    def _newest(self, key: str) -> Entry | None:
        return self._store.peek(key)


def check_size(request: pb.PutRequest | pb.TxnRequest) -> None:
    if request.ByteSize() > _LARGEST_REQUEST:
        raise invalid("etcdserver: request is too large")


def check_op(op: Op) -> None:
    """Raises Refusal for what cannot be done."""
    if not op.key:
        raise no_key()
    if isinstance(op, pb.PutRequest):
        if text(op.key) is None:
            raise unserved("a key is text (UTF-8)")
        if op.ignore_value and op.value:
            raise invalid("etcdserver: value is provided")
        if op.ignore_lease and op.lease:
            raise invalid("etcdserver: lease is provided")


def check_branch(ops: Sequence[Op]) -> None:
    written: set[str] = set()
    for op in ops:
        check_op(op)
        if isinstance(op, pb.RangeRequest):
            continue
        if isinstance(op, pb.DeleteRangeRequest) and op.range_end:
            raise unserved("a transaction deletes single keys, not ranges")
        if _key(op) in written:
            raise invalid("etcdserver: duplicate key given in txn request")
        written.add(_key(op))


def _ops(requests: Iterable[pb.RequestOp]) -> list[Op]:
    ops: list[Op] = []
    for request in requests:
        kind = request.WhichOneof("request")
        if kind == "request_txn":
            raise unserved("a transaction inside a transaction")
        if kind is None:
            raise no_key()
        ops.append(getattr(request, kind))
    return ops


def _key(op: Op) -> str:
    """A key that is no text is none of the store's: it stands for itself."""
    return text(op.key) or op.key.decode("utf-8", "replace")


def _checked(compare: pb.Compare) -> str:
    if not compare.key:
        raise no_key()
    if compare.range_end:
        raise unserved("a comparison of a range of keys")
    if compare.target == pb.Compare.VERSION and not _is_decidable(compare):
        raise unserved("versions are told apart as 0 (absent), 1 (never changed) and more, no further")
    return text(compare.key) or ""


def _is_decidable(compare: pb.Compare) -> bool:
    """Whether 0, 1 and "more" are enough to say."""
    limit = {pb.Compare.LESS: 2}.get(compare.result, 1)
    return compare.version <= limit


def holds(compare: pb.Compare, entry: Entry | None, lease: int) -> bool:
    """One comparison; of an absent key every number is 0, and no comparison with a value holds. Raises EntryDamaged."""
    target = compare.target
    actual: int | bytes
    wanted: int | bytes
    if target == pb.Compare.VALUE:
        if entry is None:
            return False
        actual, wanted = entry.value, compare.value
    elif target == pb.Compare.VERSION:
        actual = 0 if entry is None else 1 if entry.created == entry.revision else 2
        wanted = compare.version
    elif target == pb.Compare.CREATE:
        actual, wanted = (entry.created if entry else 0), compare.create_revision
    elif target == pb.Compare.MOD:
        actual, wanted = (entry.revision if entry else 0), compare.mod_revision
    else:
        actual, wanted = lease, compare.lease
    if compare.result == pb.Compare.EQUAL:
        return actual == wanted
    if compare.result == pb.Compare.NOT_EQUAL:
        return actual != wanted
    # Both are of one type.
    return actual > wanted if compare.result == pb.Compare.GREATER else actual < wanted  # type: ignore[operator]
