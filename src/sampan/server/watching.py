"""Open watches: over HTTP as pushed bytes, to callers in this process as objects.

A watch over HTTP begins in a task that writes what is there or has happened since, and waits for slow readers. When it
has caught up, the task ends and the watch joins a *channel*: all that ask the same question, in the same form, are
sent the same bytes, encoded and framed once, without a task or a queue of their own. After the parameters are
checked every failure is an ERROR event, never an HTTP error, as upstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from sampan.api.clock import Clock
from sampan.api.errors import ApiError
from sampan.api.table import IncludeObject
from sampan.api.transport import WatchEvent
from sampan.server.errors import to_api_error
from sampan.server.frames import Encoder, bookmark_object
from sampan.server.negotiation import Media
from sampan.server.options import parse_resource_version
from sampan.server.request import Request, Response
from sampan.server.results import Bookmark, Failure, Step, WatchResult
from sampan.server.storage import ResourceStorage
from sampan.server.stream import Batch, Stream
from sampan.store.cache import CacheWatch
from sampan.store.channels import Channel
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

BOOKMARK_SECONDS = 60.0
#: a last bookmark goes out this long before the watch ends, so that the client resumes from it
LAST_BOOKMARK_SECONDS = 2.0


async def open_watch(result: WatchResult) -> CacheWatch:
    """Raises Compacted, Timeout (a resourceVersion of the future, with sendInitialEvents)."""
    options, selection = result.options, result.selection
    cache = selection.storage.cache
    revision = parse_resource_version(options.resource_version)
    start: int | None = revision or None
    if revision is None or options.send_initial_events:
        await result.settle(selection.storage, revision)
    if options.send_initial_events:
        start = None
    elif options.send_initial_events is False and start is None:
        start = cache.revision
    selector = None if selection.everything else selection.matches
    return cache.watch(selection.prefix, start, selector, key=selection.key, only=selection.only)


async def _begins_later(result: WatchResult) -> bool:
    """At a revision that has not happened yet: then what happens until it has is no part of the watch."""
    cache = result.selection.storage.cache
    revision = parse_resource_version(result.options.resource_version) or 0
    return revision > cache.revision and revision > await cache.barrier()


class Watching:
    """Every open watch of a server. Runs on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pushed: set[_Pushed] = set()
        self._pulled: set[CacheWatch] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._pushed) + len(self._pulled)

    def respond(self, request: Request, result: WatchResult, media: Media, include: IncludeObject) -> Response:
        """The answer of a watch over HTTP, in this form."""
        encoder = Encoder(self._clock, result.view, media, include)
        return Response(body=_Pushed(self, result, encoder), content_type=encoder.content_type)

    async def objects(self, result: WatchResult) -> AsyncGenerator[WatchEvent, None]:
        """The same to a caller in this process: objects of its own."""
        view = result.view
        async for step in self.steps(result):
            if isinstance(step, Bookmark):
                yield WatchEvent("BOOKMARK", bookmark_object(view, step))
            elif isinstance(step, Failure):
                yield WatchEvent("ERROR", step.error.status())
            else:
                for event in step:
                    yield WatchEvent(event.type, await view.writable(event))

    async def steps(self, result: WatchResult) -> AsyncGenerator[Step, None]:
        """What happens, pulled; ends with the watch's time, or with the server."""
        loop = asyncio.get_running_loop()
        end = loop.time() + result.seconds
        bookmarks = result.options.bookmarks
        try:
            opened = await open_watch(result)
        except (StoreError, ApiError) as error:
            yield Failure(to_api_error(error))
            return
        self._pulled.add(opened)
        initial_end = bool(result.options.send_initial_events) and bookmarks
        try:
            if initial_end and opened.initial_done:
                yield Bookmark(opened.initial_revision, initial_end=True)
                initial_end = False
            next_bookmark = _next_bookmark(loop.time(), end, wanted=bookmarks)
            while not self._stopping:
                try:
                    async with asyncio.timeout_at(min(next_bookmark, end)):
                        events = await opened.__anext__()
                except TimeoutError:
                    if loop.time() >= end:
                        return
                    next_bookmark = _next_bookmark(loop.time(), end, wanted=bookmarks)
                    if opened.position:
                        yield Bookmark(opened.position)
                    continue
                except StopAsyncIteration:
                    return
                except StoreError as error:
                    yield Failure(to_api_error(error))
                    return
                try:
                    events = await result.selection.narrowed(events)
                except ApiError as error:
                    yield Failure(error)
                    return
                if events:
                    yield events
                if initial_end and opened.initial_done:
                    yield Bookmark(opened.initial_revision, initial_end=True)
                    initial_end = False
        finally:
            self._pulled.discard(opened)
            opened.close()

    def counts(self) -> Counter[tuple[str, str, str, str]]:
        """Open watches by group, version, resource and scope (``resource``, ``namespace``, ``cluster``)."""
        found: Counter[tuple[str, str, str, str]] = Counter()
        for pushed in self._pushed:
            result = pushed.result
            if result is not None:
                kind, selection = result.view.kind, result.selection
                scope = "namespace" if selection.prefix != selection.storage.prefix else "cluster"
                found[kind.group, kind.version, kind.plural, scope] += 1
        return found

    def drop(self, storage: ResourceStorage) -> None:
        """Ends the watches of what is served no longer."""
        for pushed in tuple(self._pushed):
            if pushed.result is not None and pushed.result.view.storage is storage:
                pushed.end()

    def stop(self) -> None:
        """Ends all watches cleanly; later ones end at once. Reads and writes go on."""
        self._stopping = True
        self.end_all()

    def end_all(self) -> None:
        """Ends those that are open, cleanly: who follows goes on elsewhere, or comes back."""
        for pulled in tuple(self._pulled):
            pulled.close()
        for pushed in tuple(self._pushed):
            pushed.end()

    # For the watches themselves

    @property
    def stopping(self) -> bool:
        return self._stopping

    def opened(self, watch: _Pushed) -> None:
        self._pushed.add(watch)

    def closed(self, watch: _Pushed) -> None:
        self._pushed.discard(watch)


def _next_bookmark(now: float, end: float, *, wanted: bool) -> float:
    if not wanted:
        return end
    last = end - LAST_BOOKMARK_SECONDS
    return min(now + BOOKMARK_SECONDS, last) if now < last else end


class _Pushed:
    """``PushBody`` of one watch.

    Invariant: exactly one of ``_task`` (catching up, or a form that nobody shares) and ``_leave`` (in a channel) is set
    while it is open; ``_timer`` runs only in a channel.
    """

    __slots__ = ("_channel", "_encoder", "_end", "_leave", "_owner", "_result", "_stream", "_task", "_timer")

    def __init__(self, owner: Watching, result: WatchResult, encoder: Encoder) -> None:
        self._owner, self._encoder = owner, encoder
        self._result: WatchResult | None = result
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._leave: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end = 0.0

    @property
    def result(self) -> WatchResult | None:
        """What was asked; None once it is closed."""
        return self._result

    def start(self, stream: Stream) -> None:
        assert self._result is not None
        loop = asyncio.get_running_loop()
        self._stream = stream
        self._end = loop.time() + self._result.seconds
        self._owner.opened(self)
        stream.on_close(self.close)
        if not stream.closed:
            self._task = loop.create_task(self._run(stream, self._result), name="watch")

    def cancel(self) -> None:
        self.close()

    def push(self, batch: Batch) -> None:
        """For the channel: a follower is whoever has this method."""
        if self._stream is not None:
            self._stream.push(batch)

    def end(self) -> None:
        """The watch is over, for a reason that is no error."""
        stream = self._stream
        self.close()
        if stream is not None and not stream.closed:
            stream.finish()

    def close(self) -> None:
        """Forgets everything; the stream is somebody else's to end."""
        self._owner.closed(self)
        if self._leave is not None:
            self._leave()
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._leave = self._timer = self._channel = self._stream = self._result = None

    async def _run(self, stream: Stream, result: WatchResult) -> None:
        try:
            if self._encoder.shared and result.view.converter is None and not await _begins_later(result):
                async with asyncio.timeout_at(self._end):  # a reader that only trickles gets no more time than others
                    await self._catch_up(stream, result)
                return
            async with aclosing(self._owner.steps(result)) as steps:
                async for step in steps:
                    await stream.write(await self._encoder.encode(step))
            self.end()
        except ApiError as error:  # what was to be sent cannot be converted
            await self._fail(stream, error)
        except TimeoutError:
            self.end()
        except Exception:
            log.exception("a watch of %s failed", result.view.storage.prefix)
            stream.abort()
            self.close()

    async def _catch_up(self, stream: Stream, result: WatchResult) -> None:
        """Sends what is there, or has happened since, until the channel's own memory reaches as far back."""
        encoder = self._encoder
        try:
            opened = await open_watch(result)
        except (StoreError, ApiError) as error:
            await self._fail(stream, to_api_error(error))
            return
        initial_end = bool(result.options.send_initial_events) and result.options.bookmarks
        try:
            while True:
                if initial_end and opened.initial_done:
                    await stream.write(await encoder.encode(Bookmark(opened.initial_revision, initial_end=True)))
                    initial_end = False
                # Between the look at the position and the joining nothing is awaited: no event is lost or doubled.
                if opened.idle and self._join(stream, result, opened.position):
                    return
                events = await opened.read_on()
                if events:
                    await stream.write(await encoder.encode(events))
        except StopAsyncIteration:
            self.end()
        except StoreError as error:
            await self._fail(stream, to_api_error(error))
        finally:
            opened.close()

    async def _fail(self, stream: Stream, error: ApiError) -> None:
        await stream.write(await self._encoder.encode(Failure(error)))
        self.end()

    def _join(self, stream: Stream, result: WatchResult, position: int) -> bool:
        """False: too much has happened since; read on."""
        if self._owner.stopping:
            self.end()
            return True
        selection = result.selection
        channel = selection.storage.cache.channel(
            (selection.question, self._encoder.variant),
            selection.prefix,
            selection.key,
            None if selection.everything else selection.matches,
            self._encoder.line,
            only=selection.only,
        )
        leave = channel.join(self, position)
        if leave is None:
            return False
        if stream.closed:  # by what was just pushed
            leave()
            return True
        self._task, self._channel, self._leave = None, channel, leave
        self._schedule(bookmarks=result.options.bookmarks)
        return True

    def _schedule(self, *, bookmarks: bool) -> None:
        loop = asyncio.get_running_loop()
        at = min(_next_bookmark(loop.time(), self._end, wanted=bookmarks), self._end)
        self._timer = loop.call_at(at, self._tick, bookmarks)

    def _tick(self, bookmarks: bool) -> None:
        stream, channel = self._stream, self._channel
        if stream is None or channel is None:
            return
        channel.flush()  # what happened before the bookmark goes out before it
        if asyncio.get_running_loop().time() >= self._end:
            self.end()
            return
        if self._result is not None:
            revision = self._result.view.storage.cache.revision
            stream.push(Batch(self._encoder.bookmark(Bookmark(revision))))
        if self._stream is not None:
            self._schedule(bookmarks=bookmarks)
