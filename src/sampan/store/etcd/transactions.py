"""A commit as one transaction of etcd that may be sent again and again, and what its answer means. Pure.

Whoever loses the answer to a write cannot know whether it happened, and a second one must not happen besides. So each
write in flight has a *slot*, a key of its own: the transaction asks that the slot is as its last write left it, and
writes its number there together with the entry. Sent twice, at most one is carried out; and the other's answer shows
the number, and with it the revision of the first. A repeated transaction that fails also closes its slot, so that the
first, still on its way somewhere, fails too whenever it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass as mutable
from typing import Final, Literal

from sampan.records import dataclass
from sampan.store.etcd import numbering
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb

_EQUAL: Final = pb.Compare.EQUAL
_MOD: Final = pb.Compare.MOD


@mutable(slots=True)
class Slot:
    """``revision``: of its last write, 0: there was none."""

    key: bytes
    revision: int = 0


class Slots:
    """Those of one process. One that is not given back is never used again: a write on it may still be under way."""

    def __init__(self, layout: Layout, identity: str) -> None:
        self._base = layout.clients + identity.encode() + b"/"
        self._free: list[Slot] = []
        self._made = 0
        self._number = 0

    def take(self) -> tuple[Slot, bytes]:
        """A slot, and the number of a write, which no other has."""
        self._number += 1
        if self._free:
            return self._free.pop(), b"%d" % self._number
        self._made += 1
        return Slot(self._base + b"%d" % self._made), b"%d" % self._number

    def give_back(self, slot: Slot, revision: int) -> None:
        slot.revision = revision
        self._free.append(slot)


@dataclass(frozen=True, slots=True)
class Fence:
    """What a writer knows of how revisions are counted: what stands at ``key``."""

    key: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Write:
    """One commit: ``value`` None deletes. ``end``: the note of its time to live; None: it has none; b"": whatever note
    there is goes. ``time``: the moment, when it is to be noted."""

    key: bytes
    expected: int | None
    value: bytes | None
    end_key: bytes = b""
    end: bytes | None = None
    time_key: bytes = b""
    time: bytes = b""
    #: other keys, and the revision that each has to be at
    guards: tuple[tuple[bytes, int], ...] = ()


def request_of(write: Write, slot: Slot, number: bytes, fence: Fence, *, repeated: bool) -> pb.TxnRequest:
    """``repeated``: it has been sent before, and may have been carried out, or may yet be."""
    request = pb.TxnRequest()
    compare = request.compare
    compare.append(pb.Compare(result=_EQUAL, target=_MOD, key=slot.key, mod_revision=slot.revision))
    compare.append(numbering.unchanged(fence.key, fence.offset))
    if write.expected is not None:
        compare.append(pb.Compare(result=_EQUAL, target=_MOD, key=write.key, mod_revision=write.expected))
    for key, revision in write.guards:
        compare.append(pb.Compare(result=_EQUAL, target=_MOD, key=key, mod_revision=revision))
    if write.value is None:
        compare.append(pb.Compare(result=pb.Compare.GREATER, target=pb.Compare.VERSION, key=write.key, version=0))
    then = request.success
    if write.value is None:
        then.append(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=write.key)))
    else:
        then.append(pb.RequestOp(request_put=pb.PutRequest(key=write.key, value=write.value)))
    if write.end:
        then.append(pb.RequestOp(request_put=pb.PutRequest(key=write.end_key, value=write.end)))
    elif write.end is not None:
        then.append(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=write.end_key)))
    if write.time:
        then.append(pb.RequestOp(request_put=pb.PutRequest(key=write.time_key, value=write.time)))
    then.append(pb.RequestOp(request_put=pb.PutRequest(key=slot.key, value=number)))
    otherwise = request.failure
    otherwise.append(pb.RequestOp(request_range=pb.RangeRequest(key=write.key, keys_only=True)))
    otherwise.append(pb.RequestOp(request_range=pb.RangeRequest(key=slot.key)))
    otherwise.append(pb.RequestOp(request_range=pb.RangeRequest(key=fence.key)))
    for key, _ in write.guards:
        otherwise.append(pb.RequestOp(request_range=pb.RangeRequest(key=key, keys_only=True)))
    if repeated:
        close = pb.TxnRequest(
            compare=[pb.Compare(result=_EQUAL, target=_MOD, key=slot.key, mod_revision=slot.revision)],
            success=[pb.RequestOp(request_put=pb.PutRequest(key=slot.key, value=b"closed"))],
        )
        otherwise.append(pb.RequestOp(request_txn=close))
    return request


@dataclass(frozen=True, slots=True)
class Outcome:
    """``done``: at ``revision``. ``conflict``: the key is at ``revision``, 0: absent. ``guarded``: it hung on a
    guard that is not as it was to be, whose number ``revision`` is. ``renumbered``: revisions are counted otherwise
    now. ``swept``: the slot was cleared away, nothing happened, and another is to be taken."""

    kind: Literal["done", "conflict", "guarded", "renumbered", "swept"]
    revision: int


def outcome_of(answer: pb.TxnResponse, write: Write, slot: Slot, number: bytes, fence: Fence) -> Outcome:
    if answer.succeeded:
        return Outcome("done", answer.header.revision)
    found, noted, fenced = (answer.responses[at].response_range.kvs for at in (0, 1, 2))
    if (fenced[0].value if fenced else b"0") != b"%d" % fence.offset:
        return Outcome("renumbered", 0)
    if noted and noted[0].mod_revision != slot.revision and noted[0].value == number:
        return Outcome("done", noted[0].mod_revision)  # the one that was sent before
    if not noted and slot.revision:
        return Outcome("swept", 0)
    for at, (_, wanted) in enumerate(write.guards):
        guarding = answer.responses[3 + at].response_range.kvs
        if (guarding[0].mod_revision if guarding else 0) != wanted:
            return Outcome("guarded", at)
    return Outcome("conflict", found[0].mod_revision if found else 0)
