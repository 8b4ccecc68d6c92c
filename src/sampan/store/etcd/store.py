"""``EtcdStore``: the store's contract over etcd's API v3, shared with other servers of the cluster.

Reads are linearizable and go to etcd. A commit is one transaction that is sent until its outcome is known
(``transactions``). One watch of everything (``feed``) tells the listeners; they are told late, so ``sync_now`` is None.
Revisions are etcd's own, or those and an offset (``numbering``). Entries with a time to live are deleted one by one by
the servers, the one that wrote them first: a lease of etcd's would end many at one revision, which a watch could not be
resumed within, begins anew when etcd's leader changes, and knows only whole seconds.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sampan.api.clock import Clock
from sampan.store.etcd import numbering, transactions
from sampan.store.etcd.client import Client, NoAnswer
from sampan.store.etcd.compacting import Compacting
from sampan.store.etcd.ends import Ends
from sampan.store.etcd.errors import LaterRevision, PastRevision
from sampan.store.etcd.events import entry_of, number, read
from sampan.store.etcd.feed import Feed, Gap
from sampan.store.etcd.history import RING_BYTES, History, Ring
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.missed import read_missed
from sampan.store.etcd.oldest import find_oldest, first_of
from sampan.store.etcd.pages import FIRST_PAGE, next_page
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.retention import Retention
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.together import Together
from sampan.store.expiry import check_ttl, end_of
from sampan.store.listeners import Listeners
from sampan.store.protocol import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    Guard,
    GuardFailed,
    Listener,
    Missed,
    OutcomeUnknown,
    Range,
    RevisionConflict,
    StoreError,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_RANGE: Final = "/etcdserverpb.KV/Range"
_PUT: Final = "/etcdserverpb.KV/Put"
_TXN: Final = "/etcdserverpb.KV/Txn"
_DELETE: Final = "/etcdserverpb.KV/DeleteRange"
_COMPACT: Final = "/etcdserverpb.KV/Compact"
#: so many revisions from before it was opened are remembered, for watches that go on after a restart
_BACK: Final = 2000
#: between two notes of the moment
_MARK_MS: Final = 1000
#: so long after a read the watch is given to tell of what the read has seen; then an event is made, then another
#: member is followed
_PATIENCE_SECONDS: Final = (0.3, 1.0)
#: how often it is asked whether the watch still tells, where nobody else asks
_LOOK_SECONDS: Final = 5.0
#: how long the watch is known to need events of our own, since others write to this etcd
_SHARED_SECONDS: Final = 60.0


class EtcdStore:
    """Open with ``await EtcdStore.open(settings, clock=...)``. Invariant: ``_oldest <= _known``."""

    def __init__(
        self,
        client: Client,
        layout: Layout,
        *,
        clock: Clock,
        retention: Retention,
        on_fatal: Callable[[StoreError], None] | None,
        identity: str,
        revision: int,
        oldest: int,
        cluster: int,
        ring_bytes: int,
    ) -> None:
        self._client = client
        self._layout = layout
        self._clock = clock
        self._on_fatal = on_fatal
        self._identity = identity
        self._known = revision
        self._oldest = oldest
        self._last_mark_ms = 0
        self._slots = transactions.Slots(layout, identity)
        self._fence = transactions.Fence(layout.offset, client.offset)
        self._listeners = Listeners()
        self._notes: dict[str, tuple[bytes | None, object]] = {}
        self._opened = revision
        self._ring = Ring(max(self._oldest, revision - _BACK), ring_bytes)
        self._feed = Feed(
            client,
            layout.follow,
            layout.follow_end,
            self._ring.floor,
            cluster,
            self._apply,
            needed_after=revision,
            forget=self._ring.start,
            take_missed=self._take_missed,
        )
        self._index = Together(self._read_index)
        self._bumps = Together(self._put_bump)
        self._history = History(client, layout, self._bumps)
        self._shared_until = 0.0
        self.ends = Ends(client, layout, identity, self._now_ms, self._send)
        self.compacting = Compacting(self, client, layout, retention, self._now_ms)
        self._closed = False
        self._lost: StoreError | None = None
        self._tasks: list[asyncio.Future[None]] = []

    @classmethod
    async def open(
        cls,
        settings: EtcdSettings,
        *,
        clock: Clock,
        retention: Retention | None = None,
        on_fatal: Callable[[StoreError], None] | None = None,
        identity: str | None = None,
        ring_bytes: int = RING_BYTES,
    ) -> EtcdStore:
        """``identity``: a name that no other open store has. Raises StoreUnavailable after ``open_seconds``."""
        client = Client(settings)
        try:
            layout = Layout(settings.prefix, settings.strip)
            await client.read_offset(layout.offset, seconds=settings.open_seconds)
            # A move that was killed at its end may have left its mark, by which the same move, begun again, would take
            # what servers have written since for its own, and delete it.
            if (await client.call(_RANGE, pb.RangeRequest(key=layout.moving, count_only=True))).count:
                await client.call(_DELETE, pb.DeleteRangeRequest(key=layout.moving))
            found = await client.call(_RANGE, pb.RangeRequest(key=layout.time))
            oldest = await find_oldest(client, layout, client.offset + 1, found.header.revision)
            self = cls(
                client,
                layout,
                clock=clock,
                retention=retention or Retention(),
                on_fatal=on_fatal,
                identity=identity or uuid.uuid4().hex[:12],
                revision=found.header.revision,
                oldest=oldest,
                cluster=found.header.cluster_id,
                ring_bytes=ring_bytes,
            )
            self._last_mark_ms = number(found.kvs[0].value) if found.kvs else 0
            await self.ends.load()
        except BaseException:
            await client.close()
            raise
        self._tasks = [asyncio.ensure_future(run()) for run in (self._follow, self._look, self.compacting.run)]
        return self

    # -- what is known here ----------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        return self._known

    @property
    def oldest(self) -> int:
        return self._oldest

    def sync_now(self) -> int | None:
        return None

    def add_listener(self, prefix: str, listener: Listener, missed: Missed | None = None) -> Callable[[], None]:
        return self._listeners.add(prefix, listener, missed)

    def use_endpoints(self, endpoints: Sequence[str]) -> None:
        """The members of the cluster are these from now on."""
        self._client.use_endpoints(endpoints)

    def _saw(self, header: Any) -> None:
        if header.revision > self._known:
            self._known = header.revision

    # -- reads -----------------------------------------------------------------------------------------------------

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        found = await self._range(pb.RangeRequest(key=self._layout.of(key)), revision)
        return entry_of(self._layout, found.kvs[0]) if found.kvs else None

    async def range(
        self, prefix: str, *, limit: int = 0, after: str | None = None, revision: int | None = None
    ) -> Range:
        start, end = self._layout.range_of(prefix, after)
        entries: list[Entry] = []
        page, at = FIRST_PAGE, revision
        while True:
            ask = pb.RangeRequest(key=start, range_end=end, limit=min(page, limit - len(entries)) if limit else page)
            found = await self._range(ask, at)
            at = at or found.header.revision
            entries += [entry for kv in found.kvs if (entry := entry_of(self._layout, kv)) is not None]
            if not found.more or (limit and len(entries) >= limit):
                return Range(entries, at, max(0, found.count - len(found.kvs)))
            start = found.kvs[-1].key + b"\x00"
            page = next_page(page, found.ByteSize())
            await asyncio.sleep(0)

    async def _range(self, ask: Any, revision: int | None) -> Any:
        """Raises Compacted, FutureRevision, StoreUnavailable."""
        if revision is not None:
            if revision <= 0:
                raise Compacted(revision, self._oldest)
            ask.revision = revision
        try:
            found = await self._client.call(_RANGE, ask)
        except PastRevision:
            await self._learn_oldest()
            raise Compacted(revision or 0, self._oldest) from None
        except LaterRevision:
            raise FutureRevision(revision or 0, await self._index()) from None
        self._saw(found.header)
        return found

    async def changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        if after < self._oldest:
            raise Compacted(after + 1, self._oldest + 1)
        until = min(until, self._known)
        if until <= after:
            return []
        if after >= self._ring.floor:
            await self._reach(until)
            if after >= self._ring.floor:
                return self._ring.after(prefix, after, until, limit)
        try:
            return await self._history.read(prefix, after, until, limit)
        except PastRevision:
            await self._learn_oldest()
            raise Compacted(after + 1, self._oldest + 1) from None

    async def revision_at(self, moment: datetime) -> int:
        """To a second: only so often the moment is noted."""
        wanted = int(moment.timestamp() * 1000)
        low = self._oldest
        if await self._moment_of(low) > wanted:
            raise Compacted(0, self._oldest)

        async def is_later(revision: int) -> bool:
            return await self._moment_of(revision) > wanted

        return await first_of(is_later, low + 1, await self._index() + 1) - 1

    async def _moment_of(self, revision: int) -> int:
        found = await self._range(pb.RangeRequest(key=self._layout.time), revision)
        return number(found.kvs[0].value) if found.kvs else 0

    async def _learn_oldest(self) -> None:
        self._oldest = max(self._oldest, await find_oldest(self._client, self._layout, self._oldest, self._known))

    # -- keeping up ------------------------------------------------------------------------------------------------

    async def sync(self) -> int:
        revision = await self._index()
        await self._reach(revision)
        return revision

    async def _read_index(self) -> int:
        ask = pb.RangeRequest(key=self._layout.time, keys_only=True)
        found = await self._client.call(_RANGE, ask)
        self._saw(found.header)
        revision: int = found.header.revision
        return revision

    async def _reach(self, revision: int) -> None:
        """Returns once listeners know it. Raises StoreUnavailable."""
        if self._feed.told >= revision:
            return
        self._check_open()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._client.settings.call_seconds
        waiting = asyncio.ensure_future(self._feed.reach(revision))
        try:
            patience = 0.0 if loop.time() < self._shared_until else _PATIENCE_SECONDS[0]
            if patience and (await asyncio.wait([waiting], timeout=patience))[0]:
                return
            while loop.time() < deadline:
                self._check_open()
                # The revision may be of somebody else's write, which this watch does not show: ours it does.
                await self._bumps()
                if (await asyncio.wait([waiting], timeout=_PATIENCE_SECONDS[1]))[0]:
                    if waiting.result() != revision:
                        self._shared_until = loop.time() + _SHARED_SECONDS
                    return
                self._feed.again()
        finally:
            waiting.cancel()
        raise StoreUnavailable(f"etcd does not tell of its changes: revision {revision} is there and was not told")

    async def _put_bump(self) -> int:
        put = pb.PutRequest(key=self._layout.bump, value=self._identity.encode())
        done = await self._client.call(_PUT, put)
        self._saw(done.header)
        revision: int = done.header.revision
        return revision

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._lost is not None:
            raise StoreUnavailable(f"the changes of etcd could not be followed: {self._lost}")

    async def _follow(self) -> None:
        try:
            await self._feed.follow()
        except StoreError as error:
            self._fail(error)
        except Exception as error:
            log.exception("the watch of etcd failed")
            self._fail(StoreUnavailable(str(error)))

    def _fail(self, error: StoreError) -> None:
        self._lost = error
        if self._on_fatal is not None:
            self._on_fatal(error)

    async def _look(self) -> None:
        """A watch that fell silent is noticed though nobody asks for what it should tell."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.sync()
            except StoreError as error:
                log.warning("etcd: %s", error)

    def _apply(self, revision: int, events: Sequence[Any]) -> None:
        told = read(self._layout, events)
        if revision <= self._opened:  # what was before: for those who go on from there
            for change in told.changes:
                self._ring.add(change)
            return
        if told.offset is not None and (told.offset or b"0") != b"%d" % self._fence.offset:
            raise Gap(str(numbering.renumbered()))
        self._known = max(self._known, revision)
        if told.time_ms > self._last_mark_ms:
            self._last_mark_ms = told.time_ms
        ends = dict(told.ends)
        for change in told.changes:
            key = change.key
            self.ends.changed(key, revision, ends.get(key))
            noted = self._notes.get(key)
            if noted is not None and noted[0] == (change.entry.value if change.entry is not None else None):
                del self._notes[key]
                change.note = noted[1]
            if change.previous is None and (change.entry is None or change.entry.created < revision):
                self._ring.start(revision)  # what it held before is compacted, and whoever goes on from there needs it
            else:
                self._ring.add(change)
            self._listeners.tell(change)

    async def _take_missed(self, told: int) -> int:
        """Raises Gap, StoreUnavailable, PastRevision."""
        await self._learn_oldest()
        found = await read_missed(self._client, self._layout, told)
        if found is None:
            raise Gap(
                f"the changes after revision {told} are compacted at etcd (up to {self._oldest}) and many: this server "
                "was cut off for longer than history is kept"
            )
        for revision, events in found.changed.items():
            self._apply(revision, events)
        self._listeners.tell_missed(found.revision, found.keys.__contains__)
        self._ring.start(found.revision)
        self._notes.clear()
        self._known = max(self._known, found.revision)
        return found.revision

    # -- commits ---------------------------------------------------------------------------------------------------

    async def commit(
        self,
        key: str,
        expected: int | None,
        value: bytes | None,
        *,
        ttl_seconds: float | None = None,
        note: object | None = None,
        guards: Sequence[Guard] = (),
    ) -> int:
        check_ttl(ttl_seconds)
        self._check_open()
        write = self._write(key, expected, value, ttl_seconds, guards)
        noted = (value, note)
        if note is not None:
            self._notes[key] = noted
        try:
            return await self._send(key, write, guards)
        except BaseException:
            if self._notes.get(key) is noted:
                del self._notes[key]
            raise

    def _write(
        self, key: str, expected: int | None, value: bytes | None, ttl_seconds: float | None, guards: Sequence[Guard]
    ) -> transactions.Write:
        layout, now_ms = self._layout, self._now_ms()
        end: bytes | None = None
        if value is not None and ttl_seconds is not None:
            end = b"%d %s" % (end_of(now_ms, ttl_seconds), self._identity.encode())
        elif key in self.ends:
            end = b""
        time = b""
        if now_ms >= self._last_mark_ms + _MARK_MS:
            time = b"%d" % now_ms
        return transactions.Write(
            layout.of(key),
            expected,
            value,
            layout.end_of(key) if end is not None else b"",
            end,
            layout.time,
            time,
            tuple((layout.of(guard.key), guard.revision) for guard in guards),
        )

    async def _send(self, key: str, write: transactions.Write, guards: Sequence[Guard] = ()) -> int:
        while True:
            slot, name = self._slots.take()
            repeated = False

            def request_of(again: bool, slot: transactions.Slot = slot, name: bytes = name) -> Any:
                nonlocal repeated
                repeated = again
                return transactions.request_of(write, slot, name, self._fence, repeated=again)

            try:
                answer = await self._client.repeat(_TXN, request_of)
            except NoAnswer as error:
                raise OutcomeUnknown(f"{key}: the write may have happened, or may yet: {error}") from error
            self._saw(answer.header)
            outcome = transactions.outcome_of(answer, write, slot, name, self._fence)
            if outcome.kind == "done":
                self._slots.give_back(slot, outcome.revision)
                if write.time:
                    self._last_mark_ms = max(self._last_mark_ms, int(write.time))
                return outcome.revision
            if outcome.kind == "renumbered":
                lost = numbering.renumbered()
                self._fail(lost)
                raise OutcomeUnknown(f"{key}: the write may have happened: {lost}") if repeated else lost
            if outcome.kind != "swept":
                if not repeated:
                    self._slots.give_back(slot, slot.revision)
                if outcome.kind == "guarded":
                    raise GuardFailed(key, guards[outcome.revision])
                raise RevisionConflict(key, write.expected or 0, outcome.revision)

    # -- times to live ---------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def limit_life(self, prefix: str, ttl_seconds: float) -> None:
        await self.ends.limit(prefix, end_of(self._now_ms(), ttl_seconds))

    async def expire(self) -> None:
        """Deletes what has ended by now. The store's own timer does so too."""
        await self.ends.expire()

    # -- history's end -----------------------------------------------------------------------------------------------

    async def compact(self, revision: int) -> None:
        current = await self._index()
        if revision > current:
            raise FutureRevision(revision, current)
        if revision <= self._oldest:
            return
        await self._reach(revision)  # else this server's own watch would miss what goes
        try:
            await self._client.call(_COMPACT, pb.CompactionRequest(revision=revision))
        except PastRevision:  # somebody else went further
            await self._learn_oldest()
        self._oldest = max(self._oldest, revision)

    async def shrink(self) -> None:
        """There is nothing to give back: what is kept here is bounded."""

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.ends.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
