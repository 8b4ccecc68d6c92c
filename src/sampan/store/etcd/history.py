"""Changes of the past: out of a ring of those that were told last, else out of etcd by a watch that begins there.

A watch says nothing when it has told everything, and etcd before 3.4.25 and 3.5.8 answers the question for that wrongly
(etcd-io/etcd issue 15220). So the watch is on all that the store follows, where the revision up to which is read has
an event of its own, or is soon followed by one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Final

from sampan.store.etcd.client import Client
from sampan.store.etcd.errors import Again, PastRevision
from sampan.store.etcd.events import read
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import Change, StoreUnavailable

RING_BYTES: Final = 16 << 20
#: what a portion of history may hold before it ends early
_PORTION_BYTES: Final = 8 << 20
_CHANGE_BYTES: Final = 400
#: without a word from the member for so long: an event is made, and then another member is asked
_SILENCE_SECONDS: Final = (0.1, 2.0)


def size_of(change: Change) -> int:
    entry, previous = change.entry, change.previous
    return (
        _CHANGE_BYTES
        + (len(entry.value) if entry is not None else 0)
        + (len(previous.value) if previous is not None else 0)
    )


class Ring:
    """Invariant: holds, in order, every change that was told after ``floor``."""

    def __init__(self, floor: int, limit_bytes: int = RING_BYTES) -> None:
        self.floor = floor
        self._changes: deque[Change] = deque()
        self._limit = limit_bytes
        self._held = 0

    def start(self, floor: int) -> None:
        self.floor = floor
        self._changes.clear()
        self._held = 0

    def add(self, change: Change) -> None:
        if change.note is not None:
            change = Change(change.key, change.revision, change.entry, change.previous)
        self._changes.append(change)
        self._held += size_of(change)
        while self._held > self._limit and self._changes:
            gone = self._changes.popleft()
            self._held -= size_of(gone)
            self.floor = gone.revision

    def after(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        """A long way back is looked for from the end: what is asked for is recent mostly."""
        start = bisect_right(self._changes, after, key=_revision_of)
        found: list[Change] = []
        for change in islice(self._changes, start, None):
            if change.revision > until or (len(found) >= limit and change.revision > found[-1].revision):
                break
            if change.key.startswith(prefix):
                found.append(change)
        return found


def _revision_of(change: Change) -> int:
    return change.revision


class History:
    def __init__(self, client: Client, layout: Layout, bump: Callable[[], Awaitable[object]]) -> None:
        """``bump`` makes an event in what is followed."""
        self._client = client
        self._layout = layout
        self._bump = bump

    async def read(self, prefix: str, after: int, until: int, limit: int) -> list[Change]:
        """Raises PastRevision, StoreUnavailable."""
        found: list[Change] = []
        deadline = asyncio.get_running_loop().time() + self._client.settings.call_seconds
        while after < until and len(found) < limit:
            try:
                return await self._portion(prefix, after, until, limit, found)
            except (Again, TimeoutError) as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise StoreUnavailable(f"etcd does not tell of its history: {error or 'it is silent'}") from None
                after = found[-1].revision if found else after
                await asyncio.sleep(0.05)
        return found

    async def _portion(self, prefix: str, after: int, until: int, limit: int, found: list[Change]) -> list[Change]:
        async with self._client.watch() as stream:
            create = pb.WatchCreateRequest(
                key=self._layout.follow,
                range_end=self._layout.follow_end,
                start_revision=after + 1,
                prev_kv=True,
                fragment=True,
            )
            held, silences = 0, 0
            parts: list[Any] = []
            try:
                await stream.send(pb.WatchRequest(create_request=create))
                while True:
                    reading = asyncio.ensure_future(stream.read())
                    try:
                        while not (await asyncio.wait([reading], timeout=_SILENCE_SECONDS[min(silences, 1)]))[0]:
                            if silences:
                                raise Again(f"{stream.member} is silent")
                            silences = 1
                            await self._bump()
                        answer = reading.result()
                    finally:
                        reading.cancel()
                    if answer.compact_revision:
                        raise PastRevision(f"compacted up to {answer.compact_revision}")
                    if answer.canceled:
                        raise Again(answer.cancel_reason)
                    parts.extend(answer.events)
                    if answer.fragment:
                        continue
                    for event in parts:
                        if event.kv.mod_revision > until:
                            return found
                        enough = len(found) >= limit or held > _PORTION_BYTES
                        if enough and event.kv.mod_revision > found[-1].revision:
                            return found
                        for change in read(self._layout, [event]).changes:
                            if not change.key.startswith(prefix):
                                continue
                            if change.entry is None and change.previous is None:
                                raise PastRevision("what was deleted is compacted")
                            found.append(change)
                            held += size_of(change)
                    if parts and parts[-1].kv.mod_revision >= until:
                        return found
                    parts = []
                    await asyncio.sleep(0)
            except Again:
                self._client.distrust(stream.member)
                raise
