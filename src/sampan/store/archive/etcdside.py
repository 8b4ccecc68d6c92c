"""The entries of a cluster on etcd, read at one revision and written all at once: for backups and for moves.

It goes by the keys' layout of ``store.etcd`` and by its client. What it writes may be written again: who was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

from sampan.store.archive.records import ArchiveError, Extent, Record
from sampan.store.etcd import numbering
from sampan.store.etcd.client import Client
from sampan.store.etcd.events import read_end
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb

_RANGE: Final = "/etcdserverpb.KV/Range"
_PUT: Final = "/etcdserverpb.KV/Put"
_TXN: Final = "/etcdserverpb.KV/Txn"
_COMPACT: Final = "/etcdserverpb.KV/Compact"
_DELETE: Final = "/etcdserverpb.KV/DeleteRange"
_KEYS, _VALUES = 5000, 100
#: calls that are under way at once
_TOGETHER = 64
_TOLD_EVERY = 500
_BESIDES = "/ranges/"
#: whose ends no process that lives sees to: others take them over
_NOBODY = b"moved"

Tell = Callable[[int], None]


def digest(value: bytes | None) -> bytes:
    return hashlib.blake2b(value or b"", digest_size=16).digest()


class EtcdSide:
    def __init__(self, client: Client, layout: Layout) -> None:
        self._client, self._layout = client, layout
        self._entries = layout.range_of("")
        #: and what an API server keeps besides
        self._places = (layout.range_of(_BESIDES), self._entries)
        self._parts = (layout.others, self._entries)
        self._marker = layout.moving

    async def read_offset(self) -> None:
        """First of all, for everything else goes by it. Raises StoreUnavailable."""
        await self._client.read_offset(self._layout.offset)

    async def extent(self) -> Extent:
        """At the newest revision. History is not read."""
        found = await self._range(count_only=True)
        at: int = found.header.revision
        return Extent(at, at, 0, f"{found.header.cluster_id:x}", "etcd", found.count)

    async def records(self, revision: int) -> AsyncIterator[Record]:
        """In the order of their revisions. Raises ArchiveError: two keys have one, which only foreign writers do."""
        order: list[tuple[int, bytes]] = []
        async for kv in self._all(revision, _KEYS, keys_only=True):
            order.append((kv.mod_revision, kv.key))
        order.sort()
        for (one, first), (other, second) in pairwise(order):
            if one == other:
                raise ArchiveError(f"{first.decode()} and {second.decode()} were written in one transaction")
        ends = await self._ends(revision)

        async def read(item: tuple[int, bytes]) -> Any:
            found = await self._client.call(_RANGE, pb.RangeRequest(key=item[1], revision=revision))
            return found.kvs[0]

        async for kv in _in_order(order, read):
            key = self._layout.key(kv.key)
            if key is not None:
                yield Record(kv.mod_revision, key, kv.create_revision, 0, 0, ends.get(key), kv.value)

    async def digests(self, revision: int) -> dict[str, tuple[int, bytes, int | None]]:
        """Of every entry: its revision, the digest of its value, and when it ends."""
        ends = await self._ends(revision)
        found: dict[str, tuple[int, bytes, int | None]] = {}
        async for kv in self._all(revision, _VALUES):
            key = self._layout.key(kv.key)
            if key is not None:
                found[key] = (kv.mod_revision, digest(kv.value), ends.get(key))
        return found

    async def ends(self, prefix: str) -> dict[str, int]:
        """When each entry below ``prefix`` ends, of those that do, in milliseconds."""
        found = await self._ends((await self.extent()).revision)
        return {key: end for key, end in found.items() if key.startswith(prefix)}

    # --- writing ----------------------------------------------------------------------------------------------------

    async def marker(self) -> bytes | None:
        """What a move that was interrupted left there."""
        found = await self._client.call(_RANGE, pb.RangeRequest(key=self._marker))
        return found.kvs[0].value if found.kvs else None

    async def claim(self, marker: bytes, had: bytes | None, revision: int) -> None:
        """Takes an empty etcd, or one that has this mark of an earlier try, whose entries go: ``marker`` stands there,
        and what is written from now on is above ``revision``, all in one transaction. Raises ArchiveError."""
        now = (await self.extent()).revision
        offset = self._client.offset + max(0, revision - now)
        asked = [numbering.unchanged(self._layout.offset, self._client.offset)]
        gone = [(self._layout.ends + b"/", self._layout.ends + b"0")]
        if had is None:
            asked += [
                pb.Compare(key=start, range_end=end, target=pb.Compare.VERSION, version=0) for start, end in self._parts
            ]
        else:
            asked.append(pb.Compare(key=self._marker, target=pb.Compare.VALUE, value=had))
            gone += self._parts
        then = [pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=end)) for key, end in gone]
        then.append(pb.RequestOp(request_put=pb.PutRequest(key=self._marker, value=marker)))
        if offset:
            then.append(pb.RequestOp(request_put=pb.PutRequest(key=self._layout.offset, value=b"%d" % offset)))
        if not (await self._client.call(_TXN, pb.TxnRequest(compare=asked, success=then))).succeeded:
            raise ArchiveError(await self._why_not_empty())
        self._client.offset = offset

    async def _why_not_empty(self) -> str:
        for start, end in self._parts:
            ask = pb.RangeRequest(key=start, range_end=end, limit=1, keys_only=True)
            found = await self._client.call(_RANGE, ask)
            if found.kvs:
                first = found.kvs[0].key.decode(errors="replace")
                folders = [folder.decode() for folder in (self._entries[0], self._layout.follow)]
                return (
                    f"that etcd holds entries already ({found.count:,}, the first is {first}"
                    "): take an empty one; or, if nobody needs them any more, "
                    + " and ".join(f"`etcdctl del --prefix {folder}`" for folder in folders)
                )
        return "somebody else was moving a store into that etcd at the same time; try again"

    async def remove_marker(self) -> None:
        await self._client.call(_DELETE, pb.DeleteRangeRequest(key=self._marker))

    async def write_all(
        self, records: Iterable[Record], there: dict[str, tuple[int, bytes, int | None]], tell: Tell
    ) -> None:
        """Each at a revision of its own. ``there``: what need not be written again."""

        async def write(record: Record) -> None:
            has = there.get(record.key)
            if has is not None and has[1:] == (digest(record.value), record.expires_ms):
                return
            put = pb.PutRequest(key=self._layout.of(record.key), value=record.value or b"")
            if record.expires_ms is None:
                await self._client.call(_PUT, put)
                return
            end = pb.PutRequest(key=self._layout.end_of(record.key), value=b"%d %b" % (record.expires_ms, _NOBODY))
            both = [pb.RequestOp(request_put=each) for each in (put, end)]
            await self._client.call(_TXN, pb.TxnRequest(success=both))

        done = 0
        async for _ in _in_order(records, write):
            done += 1
            if done % _TOLD_EVERY == 0:
                tell(done)

    async def compact(self, revision: int) -> None:
        await self._client.call(_COMPACT, pb.CompactionRequest(revision=revision))

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _range(self, **fields: Any) -> Any:
        start, end = self._entries
        return await self._client.call(_RANGE, pb.RangeRequest(**{"key": start, "range_end": end, **fields}))

    async def _all(self, revision: int, page: int, **fields: Any) -> AsyncIterator[Any]:
        for start, end in self._places:
            async for kv in self._scan(revision, page, key=start, range_end=end, **fields):
                yield kv

    async def _scan(self, revision: int, page: int, **fields: Any) -> AsyncIterator[Any]:
        start = fields.pop("key", self._entries[0])
        while True:
            found = await self._range(key=start, revision=revision, limit=page, **fields)
            for kv in found.kvs:
                yield kv
            if not found.more:
                return
            start = found.kvs[-1].key + b"\0"

    async def _ends(self, revision: int) -> dict[str, int]:
        start, end = self._layout.ends + b"/", self._layout.ends + b"0"
        ends: dict[str, int] = {}
        async for kv in self._scan(revision, _KEYS, key=start, range_end=end):
            key = self._layout.ended(kv.key)
            if key is not None:
                ends[key] = read_end(kv.value)[0]
        return ends


async def _in_order(items: Iterable[Any], act: Callable[[Any], Awaitable[Any]]) -> AsyncIterator[Any]:
    """The results of ``act`` in the order of the items, so many of them under way at once."""
    source: Iterator[Any] = iter(items)
    waiting: list[asyncio.Future[Any]] = []
    try:
        for item in source:
            waiting.append(asyncio.ensure_future(act(item)))
            if len(waiting) >= _TOGETHER:
                yield await waiting.pop(0)
        while waiting:
            yield await waiting.pop(0)
    finally:
        for future in waiting:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
