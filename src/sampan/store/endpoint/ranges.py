"""Range requests: entries of a range of keys at one revision, counted, sorted and cut as etcd does.

Long answers are made in pages, between which others run.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from typing import Any

from sampan.records import dataclass
from sampan.store.endpoint.keys import KeyRange, text
from sampan.store.endpoint.refusals import no_key, too_large, unserved
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import Compacted, Entry, FutureRevision, Store

_PAGE = 500
#: of an answer's part, about: a millisecond's work
_PART_BYTES, _KEY_BYTES = 256 * 1024, 400
#: what an entry is sorted by
_SORTS: dict[int, Callable[[Entry], Any]] = {
    pb.RangeRequest.KEY: lambda entry: entry.key,
    pb.RangeRequest.CREATE: lambda entry: entry.created,
    pb.RangeRequest.MOD: lambda entry: entry.revision,
    pb.RangeRequest.VALUE: lambda entry: entry.value,
}


def key_value(entry: Entry, lease: int = 0, *, keys_only: bool = False) -> pb.KeyValue:
    """``version`` is 1 for what was never changed since it was made, else 2: the store counts no further.

    Raises EntryDamaged."""
    return pb.KeyValue(
        key=entry.key.encode(),
        create_revision=entry.created,
        mod_revision=entry.revision,
        version=1 if entry.created == entry.revision else 2,
        value=b"" if keys_only else entry.value,
        lease=lease,
    )


class Room:
    """What the answer to one call may still hold, in bytes. ``written``: what the call writes is done by now."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self.written = False

    def take(self, size: int) -> None:
        """Raises Refusal."""
        self._left -= size
        if self._left < 0:
            raise too_large(self._limit, written=self.written)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Reads ``store``; ``lease_of`` names the lease of a key, 0: none."""

    store: Store
    lease_of: Callable[[str], int]

    async def answer(self, request: pb.RangeRequest, revision: int, room: Room) -> pb.RangeResponse:
        """``revision``: where the request names none. Raises Refusal, StoreError. The header is the caller's."""
        answer = pb.RangeResponse()
        async for part in self.parts(request, revision):
            room.take(part.ByteSize())
            answer.MergeFrom(part)
        return answer

    async def parts(self, request: pb.RangeRequest, revision: int | None = None) -> AsyncIterator[pb.RangeResponse]:
        """The answer in messages of some size, which merged are it: so are their bytes, one after the other."""
        if not request.key:
            raise no_key()
        if request.sort_target == pb.RangeRequest.VERSION:
            raise unserved("keys are not sorted by version, for the store does not count them")
        wanted = KeyRange.of(request.key, request.range_end)
        at = request.revision if request.revision > 0 else revision
        if at is not None:
            self._check(at)
        limit = request.limit if request.limit > 0 else 0
        sorted_anew = request.sort_order != request.NONE or request.sort_target != request.KEY
        if request.count_only:
            yield pb.RangeResponse(count=await self._count(wanted, at))
            return
        if sorted_anew or _filters(request):
            entries = [entry async for entry in self.entries(wanted, at)]
            count = len(entries)
            entries = [entry for entry in entries if _passes(request, entry)]
            if sorted_anew:
                entries = await _sorted(
                    entries,
                    _SORTS.get(request.sort_target, _SORTS[pb.RangeRequest.KEY]),
                    descending=request.sort_order == request.DESCEND,
                )
            more = bool(limit) and len(entries) > limit
            entries = entries[:limit] if limit else entries
        else:
            entries, count = await self._page(wanted, at, limit)
            more = count > len(entries)
        yield pb.RangeResponse(count=count, more=more)
        part, size = pb.RangeResponse(), 0
        for entry in entries:
            part.kvs.append(key_value(entry, self.lease_of(entry.key), keys_only=request.keys_only))
            size += _KEY_BYTES + (0 if request.keys_only else len(entry.value))
            if size >= _PART_BYTES:
                yield part
                part, size = pb.RangeResponse(), 0
                await asyncio.sleep(0)
        yield part

    async def entries(self, wanted: KeyRange, revision: int | None = None) -> AsyncIterator[Entry]:
        """All of one revision, in order."""
        if wanted.end is None:
            key = text(wanted.start)
            entry = await self.store.get(key, revision) if key is not None else None
            if entry is not None:
                yield entry
            return
        at = self.store.revision if revision is None else revision
        prefix, after = wanted.prefix, None
        start = text(wanted.start)
        if start is not None and start != prefix and start.startswith(prefix):
            first = await self.store.get(start, at)
            if first is not None and start in wanted:
                yield first
            after = start
        while True:
            page = await self.store.range(prefix, limit=_PAGE, after=after, revision=at)
            for entry in page.entries:
                if entry.key in wanted:
                    yield entry
                elif entry.key.encode() > wanted.start:
                    return
            if not page.remaining or not page.entries:
                return
            after = page.entries[-1].key
            await asyncio.sleep(0)

    async def _page(self, wanted: KeyRange, revision: int | None, limit: int) -> tuple[list[Entry], int]:
        """The first ``limit`` entries, and how many there are."""
        if limit and wanted.is_prefix:
            page = await self.store.range(wanted.prefix, limit=limit, revision=revision)
            return list(page.entries), len(page.entries) + page.remaining
        found: list[Entry] = []
        count = 0
        async for entry in self.entries(wanted, revision):
            count += 1
            if not limit or len(found) < limit:
                found.append(entry)
        return found, count

    async def _count(self, wanted: KeyRange, revision: int | None) -> int:
        if wanted.is_prefix:
            page = await self.store.range(wanted.prefix, limit=1, revision=revision)
            return len(page.entries) + page.remaining
        return len([entry async for entry in self.entries(wanted, revision)])

    def _check(self, revision: int) -> None:
        if revision > self.store.revision:
            raise FutureRevision(revision, self.store.revision)
        if revision < self.store.oldest:
            raise Compacted(revision, self.store.oldest)


async def _sorted(entries: list[Entry], by: Callable[[Entry], Any], *, descending: bool) -> list[Entry]:
    """In runs that are merged, between which others have their turn; those that are equal stay in their order."""
    runs: list[list[Entry]] = []
    for begin in range(0, len(entries), _PAGE):
        runs.append(sorted(entries[begin : begin + _PAGE], key=by, reverse=descending))
        await asyncio.sleep(0)
    found: list[Entry] = []
    for entry in heapq.merge(*runs, key=by, reverse=descending):
        found.append(entry)
        if len(found) % _PAGE == 0:
            await asyncio.sleep(0)
    return found


def _filters(request: pb.RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: pb.RangeRequest, entry: Entry) -> bool:
    return (
        entry.revision >= request.min_mod_revision
        and (not request.max_mod_revision or entry.revision <= request.max_mod_revision)
        and entry.created >= request.min_create_revision
        and (not request.max_create_revision or entry.created <= request.max_create_revision)
    )
