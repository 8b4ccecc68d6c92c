"""Range requests: entries of a range of keys at one revision, counted, sorted and cut as etcd does.

Long answers are made in pages, between which others run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from sampan.records import dataclass
from sampan.store.endpoint.keys import KeyRange, text
from sampan.store.endpoint.refusals import no_key, unserved
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import Compacted, Entry, FutureRevision, Store

_PAGE = 500
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


@dataclass(frozen=True, slots=True)
class Ranges:
    """Reads ``store``; ``lease_of`` names the lease of a key, 0: none."""

    store: Store
    lease_of: Callable[[str], int]

    async def answer(self, request: pb.RangeRequest, revision: int | None = None) -> pb.RangeResponse:
        """``revision``: where the request names none. Raises Refusal, StoreError. The header is the caller's."""
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
        chosen = sorted_anew or _filters(request)
        if request.count_only:
            return pb.RangeResponse(count=await self._count(wanted, at))
        answer = pb.RangeResponse()
        if chosen:
            entries = [entry async for entry in self.entries(wanted, at)]
            answer.count = len(entries)
            entries = [entry for entry in entries if _passes(request, entry)]
            if sorted_anew:
                entries.sort(
                    key=_SORTS.get(request.sort_target, _SORTS[pb.RangeRequest.KEY]),
                    reverse=request.sort_order == request.DESCEND,
                )
            answer.more = bool(limit) and len(entries) > limit
            entries = entries[:limit] if limit else entries
        else:
            entries, answer.count = await self._page(wanted, at, limit)
            answer.more = answer.count > len(entries)
        for begin in range(0, len(entries), _PAGE):
            answer.kvs.extend(
                key_value(entry, self.lease_of(entry.key), keys_only=request.keys_only)
                for entry in entries[begin : begin + _PAGE]
            )
            await asyncio.sleep(0)
        return answer

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
