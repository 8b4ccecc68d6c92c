"""What a watch sends: its steps as lines of JSON, or as frames of protobuf, in the form that the client asked for.

An event's bytes are made once and kept with the event for everybody who asks in the same form; a Table's are not, for
only somebody's first one has the columns. What a watch begins with is long and is encoded in a thread; what happens
later on the loop. Used by ``watching``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from sampan.api import protobuf, table
from sampan.api.clock import Clock
from sampan.api.errors import InternalError
from sampan.api.table import IncludeObject
from sampan.api.types import Obj
from sampan.server.forms import in_version
from sampan.server.negotiation import Media
from sampan.server.results import Bookmark, Failure, Step
from sampan.server.storage import View
from sampan.server.threads import paced
from sampan.store.cache import CacheEvent

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
#: stored bytes of events that are encoded together; so that many watches that begin take turns
_ENCODED_AT_ONCE: Final = 256 * 1024
#: more than this in a thread
_ENCODED_HERE: Final = 16 * 1024


def bookmark_object(view: View, bookmark: Bookmark) -> Obj:
    metadata: Obj = {"resourceVersion": str(bookmark.revision), "creationTimestamp": None}
    if bookmark.initial_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return {"kind": view.kind.kind, "apiVersion": view.kind.api_version, "metadata": metadata}


class Encoder:
    """Of one watch. ``shared``: everybody's bytes of an event in this form are the same."""

    __slots__ = ("_clock", "_first", "_include", "_media", "_plain", "_protobuf", "_view", "shared", "variant")

    def __init__(self, clock: Clock, view: View, media: Media, include: IncludeObject) -> None:
        self._clock, self._view, self._media, self._include = clock, view, media, include
        self._protobuf = media.format == "protobuf"
        self._plain = not media.form and not self._protobuf and view.spliced
        self._first = True
        self.variant = f"{view.kind.api_version} {view.kind.kind} {media.format} {media.form} {media.version} {include}"
        # Only the first event of a Table carries the columns, and whose first it is differs.
        self.shared = media.form != "Table"

    @property
    def content_type(self) -> str:
        """JSON alone does not say that it is a stream."""
        media = self._media
        return f"{media.content_type};stream=watch" if self._protobuf else media.content_type

    async def encode(self, step: Step) -> bytes:
        if isinstance(step, Bookmark):
            return self.bookmark(step)
        if isinstance(step, Failure):
            return self._framed("ERROR", step.error.status())
        if self._view.converter is not None:
            found = await self._view.readables(list(step))
            return b"".join([self._framed(e.type, self._shown(obj)) for e, obj in zip(step, found, strict=True)])
        if self._plain:
            return self._lines(step)
        return b"".join([await paced(heavy, self._lines, portion) for portion, heavy in _portions(step)])

    def _lines(self, events: Sequence[CacheEvent]) -> bytes:
        return b"".join([self.line(event) for event in events])

    def line(self, event: CacheEvent) -> bytes:
        """Raises InternalError."""
        line = event.encoded.get(self.variant)
        if line is None or not self.shared:
            if self._plain:
                line = _line(event.type, self._view.served(event.entry.value, event.revision))
            else:
                line = self._framed(event.type, self._shown(self._view.from_stored_now(event.object())))
            if self.shared:
                event.encoded[self.variant] = line
        return line

    def bookmark(self, bookmark: Bookmark) -> bytes:
        obj = bookmark_object(self._view, bookmark)
        if self._media.form == "Table":
            return self._framed("BOOKMARK", self._table([obj], with_columns=False))
        return self._framed("BOOKMARK", self._shown(obj))

    def _framed(self, event_type: str, obj: Obj) -> bytes:
        """Raises InternalError."""
        if not self._protobuf:
            return _line(event_type, orjson.dumps(obj))
        try:
            return protobuf.encode_event(event_type, protobuf.encode_object(obj))
        except protobuf.NotEncodable as error:
            raise InternalError(str(error)) from error

    def _shown(self, obj: Obj) -> Obj:
        if self._media.form == "Table":
            first, self._first = self._first, False
            return self._table([obj], with_columns=first)
        return in_version(table.partial_object_metadata(obj), self._media) if self._media.form else obj

    def _table(self, objects: list[Obj], *, with_columns: bool) -> Obj:
        metadata = {"resourceVersion": objects[0]["metadata"].get("resourceVersion", "")} if objects else {}
        now = self._clock.now()
        shown = table.build_table(self._view.kind, objects, now, self._include, metadata, with_columns=with_columns)
        return in_version(shown, self._media)


def _portions(events: Sequence[CacheEvent]) -> Iterator[tuple[Sequence[CacheEvent], bool]]:
    """The events in portions of some length, and whether each is a thread's work: what is not spliced is decoded and
    encoded again, and the first steps of a watch have hundreds of events."""
    start, size = 0, 0
    for at, event in enumerate(events, 1):
        size += event.size
        if size > _ENCODED_AT_ONCE or at == len(events):
            yield events[start:at], size > _ENCODED_HERE
            start, size = at, 0


def _line(event_type: str, obj: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (event_type.encode(), obj)
