"""What a call is answered instead of a result: etcd's own words and codes where it has them. Used by every service."""

from __future__ import annotations

import grpc

from sampan.store.protocol import (
    Compacted,
    EntryDamaged,
    FutureRevision,
    StoreError,
)

_Code = grpc.StatusCode


class Refusal(Exception):
    """``code`` and words of the answer."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def unserved(what: str) -> Refusal:
    """Of etcd, and not done here."""
    return Refusal(_Code.UNIMPLEMENTED, f"sampan: {what} (docs/etcd-endpoint.md)")


def invalid(words: str) -> Refusal:
    return Refusal(_Code.INVALID_ARGUMENT, words)


def too_large(limit: int, *, written: bool) -> Refusal:
    done = "writes of the same transaction are done" if written else "nothing was written"
    return Refusal(
        _Code.RESOURCE_EXHAUSTED,
        f"sampan: the answer would have more than {limit >> 20} MiB: ask with a limit, page by page, for keys alone, "
        f"without what was there before, or for a snapshot; {done}",
    )


def no_key() -> Refusal:
    return invalid("etcdserver: key is not provided")


def no_lease() -> Refusal:
    return Refusal(_Code.NOT_FOUND, "etcdserver: requested lease not found")


def of_store(error: StoreError) -> Refusal:
    if isinstance(error, Compacted):
        return Refusal(_Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
    if isinstance(error, FutureRevision):
        return Refusal(_Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
    if isinstance(error, EntryDamaged):
        return Refusal(_Code.DATA_LOSS, f"sampan: {error}")
    return Refusal(_Code.UNAVAILABLE, f"sampan: {error}")
