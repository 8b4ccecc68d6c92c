"""WATCH: a stream of changes, bookmarks and at most one error, over HTTP or to a caller in this process.

After the parameters are checked every failure is an ERROR event, never an HTTP error, as upstream. An event is encoded
once for each form, whatever the number of watchers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import orjson

from sampan.api import table
from sampan.api.errors import ApiError
from sampan.api.table import IncludeObject
from sampan.api.transport import WatchEvent
from sampan.api.types import Obj
from sampan.server.errors import to_api_error
from sampan.server.negotiation import Media
from sampan.server.registry import View
from sampan.server.request import Request, Response
from sampan.server.rest.context import RestContext, Target
from sampan.server.rest.get import settle
from sampan.server.rest.options import ListOptions, parse_list_options, parse_resource_version
from sampan.server.rest.respond import OBJECT_FORMS, accepted, include_object
from sampan.server.rest.selection import Selection
from sampan.store.cache import CacheEvent, CacheWatch
from sampan.store.protocol import StoreError

BOOKMARK_SECONDS = 60.0
#: a last bookmark goes out this long before the watch ends, so that the client resumes from it
LAST_BOOKMARK_SECONDS = 2.0
MIN_TIMEOUT_SECONDS = 1800
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Everything up to ``revision`` was delivered. ``initial_end``: these were the initial events."""

    revision: int
    initial_end: bool = False

    def object(self, view: View) -> Obj:
        metadata: Obj = {"resourceVersion": str(self.revision), "creationTimestamp": None}
        if self.initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        return {"kind": view.kind.kind, "apiVersion": view.kind.api_version, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Failure:
    """The watch ends with this error."""

    error: ApiError


Step = Sequence[CacheEvent] | Bookmark | Failure


async def watch(ctx: RestContext, request: Request) -> Response:
    target = ctx.target(request)
    options = parse_list_options(request.query, target.kind, watch=True)
    steps = _steps(ctx, target, options)
    if request.in_process:
        return Response(events=_objects(target.view, steps))
    media = accepted(request, OBJECT_FORMS)
    encoder = _Encoder(ctx, target.view, media, include_object(request))
    content_type = "application/json" if media.format == "json" else media.content_type
    return Response(body=_bytes(encoder, steps), content_type=content_type)


async def _steps(ctx: RestContext, target: Target, options: ListOptions) -> AsyncIterator[Step]:
    loop = asyncio.get_running_loop()
    seconds = options.timeout_seconds or MIN_TIMEOUT_SECONDS + ctx.random.randrange(MIN_TIMEOUT_SECONDS)
    end = loop.time() + seconds
    try:
        opened = await _open(target, options)
    except (StoreError, ApiError) as error:
        yield Failure(to_api_error(error))
        return
    ctx.watches.add(opened)
    initial_end = bool(options.send_initial_events) and options.bookmarks
    try:
        if initial_end and opened.initial_done:
            yield Bookmark(opened.initial_revision, initial_end=True)
            initial_end = False
        next_bookmark = _next_bookmark(loop.time(), end, options)
        while not ctx.stopping:
            try:
                async with asyncio.timeout_at(min(next_bookmark, end)):
                    events = await opened.__anext__()
            except TimeoutError:
                if loop.time() >= end:
                    return
                next_bookmark = _next_bookmark(loop.time(), end, options)
                if opened.position:
                    yield Bookmark(opened.position)
                continue
            except StopAsyncIteration:
                return
            except StoreError as error:
                yield Failure(to_api_error(error))
                return
            yield events
            if initial_end and opened.initial_done:
                yield Bookmark(opened.initial_revision, initial_end=True)
                initial_end = False
    finally:
        ctx.watches.discard(opened)
        opened.close()


def _next_bookmark(now: float, end: float, options: ListOptions) -> float:
    if not options.bookmarks:
        return end
    last = end - LAST_BOOKMARK_SECONDS
    return min(now + BOOKMARK_SECONDS, last) if now < last else end


async def _open(target: Target, options: ListOptions) -> CacheWatch:
    """Raises Compacted, Timeout (a resourceVersion of the future, with sendInitialEvents)."""
    cache = target.storage.cache
    selection = Selection(target, options)
    revision = parse_resource_version(options.resource_version)
    start: int | None = revision or None
    if revision is None or options.send_initial_events:
        await settle(target.storage, revision)
    if options.send_initial_events:
        start = None
    elif options.send_initial_events is False and start is None:
        start = cache.revision
    selector = None if selection.everything else selection.matches
    return cache.watch(selection.prefix, start, selector, key=selection.key)


async def _objects(view: View, steps: AsyncIterator[Step]) -> AsyncIterator[WatchEvent]:
    async for step in steps:
        if isinstance(step, Bookmark):
            yield WatchEvent("BOOKMARK", step.object(view))
        elif isinstance(step, Failure):
            yield WatchEvent("ERROR", step.error.status())
        else:
            for event in step:
                yield WatchEvent(event.type, view.writable(event))


async def _bytes(encoder: _Encoder, steps: AsyncIterator[Step]) -> AsyncIterator[bytes]:
    async for step in steps:
        yield encoder.encode(step)


class _Encoder:
    """Steps as lines of JSON in one form."""

    def __init__(self, ctx: RestContext, view: View, media: Media, include: IncludeObject) -> None:
        self._ctx, self._view, self._media, self._include = ctx, view, media, include
        self._form = media.form
        self._variant = f"{view.kind.api_version} {view.kind.kind} {media.form} {include}"
        self._first = True
        self._render: Callable[[CacheEvent], bytes] = self._served if not media.form else self._transformed

    def encode(self, step: Step) -> bytes:
        if isinstance(step, Bookmark):
            return _line("BOOKMARK", self._bookmark(step))
        if isinstance(step, Failure):
            return _line("ERROR", orjson.dumps(step.error.status()))
        return b"".join([self._event(event) for event in step])

    def _event(self, event: CacheEvent) -> bytes:
        if self._form == "Table" and self._first:
            # Only the first event carries the columns; it is not shared with other watchers.
            line = _line(event.type, self._table([self._object(event)], with_columns=True))
            self._first = False
            return line
        line = event.encoded.get(self._variant, b"")
        if not line:
            line = event.encoded[self._variant] = _line(event.type, self._render(event))
        return line

    def _served(self, event: CacheEvent) -> bytes:
        return self._view.served(event.entry.value, event.revision)

    def _transformed(self, event: CacheEvent) -> bytes:
        obj = self._object(event)
        if self._form == "Table":
            return self._table([obj], with_columns=False)
        return orjson.dumps(table.partial_object_metadata(obj))

    def _object(self, event: CacheEvent) -> Obj:
        return self._view.readable(event)

    def _table(self, objects: list[Obj], *, with_columns: bool) -> bytes:
        metadata = {"resourceVersion": objects[0]["metadata"].get("resourceVersion", "")} if objects else {}
        now = self._ctx.clock.now()
        return orjson.dumps(
            table.build_table(self._view.kind, objects, now, self._include, metadata, with_columns=with_columns)
        )

    def _bookmark(self, bookmark: Bookmark) -> bytes:
        obj = bookmark.object(self._view)
        if self._form == "Table":
            return self._table([obj], with_columns=False)
        return orjson.dumps(table.partial_object_metadata(obj) if self._form else obj)


def _line(event_type: str, obj: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (event_type.encode(), obj)
