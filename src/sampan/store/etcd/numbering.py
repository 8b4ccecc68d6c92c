"""The store's revisions and etcd's: ours are etcd's and an offset. Pure.

A store that moves to etcd brings revisions that clients know, which etcd's counter may be far below, and it counts by
writes alone. So the offset is noted in etcd before anything else of the store is (``store.archive.etcdside``), for
good: every server reads it as it opens, and each of its transactions asks that it is still so. The client turns
revisions over as messages leave and come, so that nobody else in this package knows of it.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.store.etcd.errors import PastRevision
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import StoreUnavailable

#: etcd's first write is at 2: nothing has ever been written at 1, and nothing is at less
_NEVER: Final = 1
#: the largest offset that leaves room for revisions, which are of 64 bits
LARGEST: Final = 1 << 62


def parse_offset(key: bytes, value: bytes | None) -> int:
    """``value``: what stands at ``key``, None: nothing does. Raises StoreUnavailable: no store has written that."""
    if value is None:
        return 0
    offset = int(value) if value.isdigit() and len(value) < 20 else 0
    if not 0 < offset <= LARGEST:
        raise StoreUnavailable(
            f"{value[:40]!r} at etcd's key {key.decode(errors='replace')} is no offset of revisions: somebody else "
            "wrote there; put back what `etcdctl get --rev` shows of before, or restore a backup"
        )
    return offset


def renumbered() -> StoreUnavailable:
    return StoreUnavailable(
        "the revisions of this etcd are counted from elsewhere since this server opened it, for another store was "
        "moved there: it writes no more, and has to start anew"
    )


def unchanged(key: bytes, offset: int) -> Any:
    """What a transaction asks, so that nobody writes by an offset that is no longer so."""
    if offset:
        return pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.VALUE, key=key, value=b"%d" % offset)
    return pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.VERSION, key=key, version=0)


# -- what leaves -------------------------------------------------------------------------------------------------------


def outgoing(message: Any, offset: int) -> Any:
    """The message in etcd's revisions; the caller's stays as it is, for it may be sent again. Raises PastRevision: it
    asks for what was before this etcd."""
    turn = _OUTGOING.get(type(message))
    if turn is None:
        return message
    turned = type(message)()
    turned.CopyFrom(message)
    turn(turned, offset)
    return turned


def _exact(revision: int, offset: int) -> int:
    """Of a question about one revision. 0: of the newest."""
    if revision == 0:
        return 0
    if revision <= offset:
        raise PastRevision(f"revision {revision} is of a time before this etcd's, which begins at {offset + 1}")
    return revision - offset


def _compared(revision: int, offset: int) -> int:
    """0, which is a key that is not there, stays; a revision of before is none that any key has."""
    return max(revision - offset, _NEVER) if revision > 0 else revision


def _range(ask: Any, offset: int) -> None:
    ask.revision = _exact(ask.revision, offset)
    for bound in ("min_mod_revision", "min_create_revision"):
        setattr(ask, bound, max(getattr(ask, bound) - offset, 0))
    for bound in ("max_mod_revision", "max_create_revision"):  # where 0 is no bound at all
        setattr(ask, bound, _compared(getattr(ask, bound), offset))


def _transaction(ask: Any, offset: int) -> None:
    for compare in ask.compare:
        if compare.target == pb.Compare.MOD:
            compare.mod_revision = _compared(compare.mod_revision, offset)
        elif compare.target == pb.Compare.CREATE:
            compare.create_revision = _compared(compare.create_revision, offset)
    for operation in (*ask.success, *ask.failure):
        kind = operation.WhichOneof("request")
        if kind == "request_range":
            _range(operation.request_range, offset)
        elif kind == "request_txn":
            _transaction(operation.request_txn, offset)


def _compaction(ask: Any, offset: int) -> None:
    ask.revision = _exact(ask.revision, offset)


def _watch(ask: Any, offset: int) -> None:
    if ask.WhichOneof("request_union") == "create_request":
        ask.create_request.start_revision = _exact(ask.create_request.start_revision, offset)


_OUTGOING: Final = {
    pb.RangeRequest: _range,
    pb.TxnRequest: _transaction,
    pb.CompactionRequest: _compaction,
    pb.WatchRequest: _watch,
}

# -- what comes --------------------------------------------------------------------------------------------------------


def incoming(message: Any, offset: int) -> Any:
    """The same message, in the store's revisions."""
    message.header.revision += offset
    turn = _INCOMING.get(type(message))
    if turn is not None:
        turn(message, offset)
    return message


def _pairs(pairs: Any, offset: int) -> None:
    for kv in pairs:
        kv.mod_revision += offset
        if kv.create_revision:  # that of a key which was deleted has none
            kv.create_revision += offset


def _found(answer: Any, offset: int) -> None:
    _pairs(answer.kvs, offset)


def _put(answer: Any, offset: int) -> None:
    if answer.HasField("prev_kv"):
        _pairs((answer.prev_kv,), offset)


def _deleted(answer: Any, offset: int) -> None:
    _pairs(answer.prev_kvs, offset)


def _answered(answer: Any, offset: int) -> None:
    for response in answer.responses:
        kind = response.WhichOneof("response")
        if kind is not None:
            incoming(getattr(response, kind), offset)


def _told(answer: Any, offset: int) -> None:
    if answer.compact_revision:
        answer.compact_revision += offset
    for event in answer.events:
        _pairs((event.kv,), offset)
        if event.HasField("prev_kv"):
            _pairs((event.prev_kv,), offset)


_INCOMING: Final = {
    pb.RangeResponse: _found,
    pb.PutResponse: _put,
    pb.DeleteRangeResponse: _deleted,
    pb.TxnResponse: _answered,
    pb.WatchResponse: _told,
}
