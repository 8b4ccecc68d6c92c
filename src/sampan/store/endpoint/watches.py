"""Watch: one stream of a client, with any number of watches on it.

A watch is told of changes as they happen, and reads what happened before, or while its client was slow, from the
store's history; so nobody is cut off who reads at all, and no queue grows. A watch whose place in history is compacted
is cancelled with the revision to begin from. Answers are cut at ``_MESSAGE_BYTES``, so a client needs no fragments.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from sampan.store.endpoint.keys import KeyRange
from sampan.store.endpoint.ranges import key_value
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import Change, Compacted, EntryDamaged, Store, StoreError

#: an answer is sent at this size; a single change may be larger
_MESSAGE_BYTES = 512 * 1024
#: of messages that wait for the client; a watch waits, too, then
_OUTGOING = 8
#: changes that wait for their watch; more are read from history
_LIVE = 500
_PAGE = 500
_MOST_WATCHES = 10_000
#: questions for progress of one stream that wait for their answer
_MOST_ASKED = 16

Header = Callable[[int], pb.ResponseHeader]


class Watch:
    """Invariant: every change of the range up to ``_sent`` is in the outgoing queue, and each later one up to the
    store's revision is in ``_live`` or, where ``_behind``, in history."""

    def __init__(self, ident: int, request: pb.WatchCreateRequest, store: Store) -> None:
        self.ident = ident
        key, end = request.key or b"\0", request.range_end
        self._range = KeyRange.of(key, end)
        self._prefix = self._range.prefix
        self._previous = request.prev_kv
        self._no_put = pb.WatchCreateRequest.NOPUT in request.filters
        self._no_delete = pb.WatchCreateRequest.NODELETE in request.filters
        self.progress_notify = request.progress_notify
        self._store = store
        start = request.start_revision
        self._sent = start - 1 if start > 0 else store.revision
        self._live: deque[Change] = deque()
        self._behind = self._sent < store.revision
        self._news = asyncio.Event()
        #: set while the client has, or is about to have, all there is
        self.current = asyncio.Event()
        #: when anything was last sent, by the loop's clock
        self.sent_at = asyncio.get_running_loop().time()

    def listen(self) -> Callable[[], None]:
        """From now on; with what is read from history, nothing is missed."""
        return self._store.add_listener(self._prefix, self._hear)

    def _hear(self, change: Change) -> None:
        if change.revision <= self._sent or self._behind or change.key not in self._range:
            return
        if len(self._live) >= _LIVE:
            self._live.clear()
            self._behind = True
        else:
            self._live.append(change)
        self.current.clear()
        self._news.set()

    async def batches(self) -> AsyncIterator[list[pb.Event]]:
        """Never ends. Raises Compacted and other StoreErrors."""
        while True:
            if self._behind:
                async for events in self._from_history():
                    yield events
                continue
            if not self._live:
                self.current.set()
                self._news.clear()
                await self._news.wait()
                continue
            events, size = [], 0
            while self._live and size < _MESSAGE_BYTES:
                change = self._live.popleft()
                self._sent = change.revision
                size += self._add(events, change)
            if events:
                yield events

    async def _from_history(self) -> AsyncIterator[list[pb.Event]]:
        """Up to where what is heard goes on: that is settled in one turn of the loop."""
        while self._sent < self._store.revision:
            until = self._store.revision
            changes: Sequence[Change] = await self._store.changes(self._prefix, self._sent, until, _PAGE)
            events: list[pb.Event] = []
            size = 0
            for change in changes:
                if change.key in self._range:
                    size += self._add(events, change)
                if size >= _MESSAGE_BYTES:
                    yield events
                    events, size = [], 0
                self._sent = change.revision
            if events:
                yield events
            if not changes:
                self._sent = until
            await asyncio.sleep(0)
        self._behind = False

    def _add(self, events: list[pb.Event], change: Change) -> int:
        """Gives its size; 0: it is filtered out."""
        entry = change.entry
        if self._no_delete if entry is None else self._no_put:
            return 0
        if entry is None:
            kv = pb.KeyValue(key=change.key.encode(), mod_revision=change.revision)
            event = pb.Event(type=pb.Event.DELETE, kv=kv)
        else:
            event = pb.Event(kv=key_value(entry))
        if self._previous and change.previous is not None:
            try:
                event.prev_kv.CopyFrom(key_value(change.previous))
            except EntryDamaged:  # what it was cannot be said; what it is can
                event.prev_kv.key = change.key.encode()
        events.append(event)
        return int(event.ByteSize())


class WatchStream:
    """One call of a client. ``progress_seconds``: how often a silent watch that asked for it is told the revision."""

    def __init__(self, store: Store, header: Header, progress_seconds: float) -> None:
        self._store, self._header = store, header
        self._progress_seconds = progress_seconds
        self._outgoing: asyncio.Queue[pb.WatchResponse] = asyncio.Queue(_OUTGOING)
        self._watches: dict[int, tuple[Watch, asyncio.Task[None]]] = {}
        self._next = 0
        self._asked: set[asyncio.Task[None]] = set()

    async def run(
        self, requests: AsyncIterator[pb.WatchRequest], write: Callable[[pb.WatchResponse], Awaitable[None]]
    ) -> None:
        """Returns when the client has said all it wanted to and is gone, which cancels this. ``write`` is awaited."""
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(self._send(write), name="watch stream, sending")
            try:
                async for request in requests:
                    kind = request.WhichOneof("request_union")
                    if kind == "create_request":
                        await self._create(group, request.create_request)
                    elif kind == "cancel_request":
                        await self._cancel(request.cancel_request.watch_id)
                    elif kind == "progress_request":
                        while len(self._asked) >= _MOST_ASKED:  # who asks without reading is read no further
                            await asyncio.wait(self._asked, return_when=asyncio.FIRST_COMPLETED)
                        asked = group.create_task(self._tell_progress(), name="watch stream, progress")
                        self._asked.add(asked)
                        asked.add_done_callback(self._asked.discard)
            finally:
                for _, task in self._watches.values():
                    task.cancel()
                sender.cancel()

    async def _send(self, write: Callable[[pb.WatchResponse], Awaitable[None]]) -> None:
        while True:
            answer = await self._outgoing.get()
            await write(answer)

    async def _create(self, group: asyncio.TaskGroup, request: pb.WatchCreateRequest) -> None:
        ident = request.watch_id
        reason = ""
        if ident and ident in self._watches:
            reason = "etcdserver: mvcc: duplicate watch ID provided on the WatchStream"
        elif len(self._watches) >= _MOST_WATCHES:
            reason = f"sampan: a stream has {_MOST_WATCHES} watches at most"
        if reason:
            await self._put(pb.WatchResponse(watch_id=-1, created=True, canceled=True, cancel_reason=reason))
            return
        while not ident and self._next in self._watches:
            self._next += 1
        if not ident:
            ident, self._next = self._next, self._next + 1
        watch = Watch(ident, request, self._store)
        stop = watch.listen()
        # Before its first event, and not a turn of the loop later than it began to listen.
        created = pb.WatchResponse(header=self._header(self._store.revision), watch_id=ident, created=True)
        task = group.create_task(self._follow(watch, created, stop), name=f"watch {ident}")
        self._watches[ident] = (watch, task)

    async def _follow(self, watch: Watch, created: pb.WatchResponse, stop: Callable[[], None]) -> None:
        try:
            await self._put(created)
            async with asyncio.TaskGroup() as group:
                if watch.progress_notify:
                    group.create_task(self._notify(watch), name=f"watch {watch.ident}, progress")
                async for events in watch.batches():
                    watch.sent_at = asyncio.get_running_loop().time()
                    await self._put(
                        pb.WatchResponse(
                            header=self._header(events[-1].kv.mod_revision), watch_id=watch.ident, events=events
                        )
                    )
        except* Compacted as group_error:
            first = group_error.exceptions[0]
            oldest = first.oldest if isinstance(first, Compacted) else self._store.oldest
            await self._end(watch, "etcdserver: mvcc: required revision has been compacted", oldest)
        except* StoreError as group_error:
            await self._end(watch, f"sampan: {group_error.exceptions[0]}")
        finally:
            stop()

    async def _end(self, watch: Watch, reason: str, oldest: int = 0) -> None:
        self._watches.pop(watch.ident, None)
        await self._put(
            pb.WatchResponse(
                header=self._header(self._store.revision),
                watch_id=watch.ident,
                canceled=True,
                cancel_reason=reason,
                compact_revision=oldest,
            )
        )

    async def _cancel(self, ident: int) -> None:
        found = self._watches.pop(ident, None)
        if found is not None:
            found[1].cancel()
            header = self._header(self._store.revision)
            await self._put(pb.WatchResponse(header=header, watch_id=ident, canceled=True))

    async def _notify(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.01, watch.sent_at + self._progress_seconds - loop.time()))
            if loop.time() - watch.sent_at < self._progress_seconds:
                continue
            await watch.current.wait()
            watch.sent_at = loop.time()
            await self._put(pb.WatchResponse(header=self._header(self._store.revision), watch_id=watch.ident))

    async def _tell_progress(self) -> None:
        """Once all watches have been told what had happened when this was asked."""
        revision = self._store.revision
        for watch, _ in list(self._watches.values()):
            await watch.current.wait()
        await self._put(pb.WatchResponse(header=self._header(revision), watch_id=-1))

    async def _put(self, answer: pb.WatchResponse) -> None:
        await self._outgoing.put(answer)
