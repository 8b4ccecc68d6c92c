"""What the watch cache hands out: described entries, events, and open watches. Made by ``cache`` only.

A watch is for one consumer. The rules it keeps: events strictly after its start, each once, in revision order; what
enters its selector is ADDED, what leaves it is DELETED with the last state that matched; a consumer that does not
keep up gets WatchOverflow, and nobody else notices.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from sampan.api.types import Obj
from sampan.store.mailbox import Mailbox
from sampan.store.protocol import Change, Entry, EntryDamaged, Store

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Describe: TypeAlias = Callable[[Obj], tuple[Mapping[str, str], Mapping[str, str]]]
Decode: TypeAlias = Callable[[bytes, int], Obj]
Selector: TypeAlias = Callable[["CachedEntry"], bool]

_CHUNK = 500
_NONE: Mapping[str, str] = {}


class Codec:
    """How one cache reads its values. ``keep``: decoded objects stay with their entries, for somebody in this process
    follows the cache; otherwise they would only double its memory."""

    __slots__ = ("decode", "describe", "keep")

    def __init__(self, describe: Describe, decode: Decode) -> None:
        self.describe = describe
        self.decode = decode
        self.keep = False


class CachedEntry:
    """A key's value with what selectors look at. ``damaged``: the value cannot be read; ``value`` and ``object``
    raise EntryDamaged and no selector sees it."""

    __slots__ = ("_codec", "_object", "damaged", "entry", "fields", "labels")

    def __init__(self, entry: Entry, codec: Codec) -> None:
        self.entry = entry
        self._codec = codec
        self._object: Obj | None = None
        self.damaged = False
        self.labels, self.fields = _NONE, _NONE
        try:
            obj = codec.decode(entry.value, entry.revision)
            self.labels, self.fields = codec.describe(obj)
        except (EntryDamaged, ValueError, TypeError, LookupError, AttributeError):
            # Damage that passed the checksum shows as JSON that is none, or no object. It is reported on access.
            self.damaged = True
            return
        if codec.keep:
            self._object = obj

    @property
    def key(self) -> str:
        return self.entry.key

    @property
    def revision(self) -> int:
        return self.entry.revision

    @property
    def created(self) -> int:
        return self.entry.created

    @property
    def value(self) -> bytes:
        if self.damaged:
            raise EntryDamaged(self.key, self.revision)
        return self.entry.value

    def object(self) -> Obj:
        """Read-only: decoded once and shared as long as the cache has a subscriber."""
        if self._object is not None:
            return self._object
        obj = self.decode_at(self.revision)
        if self._codec.keep:
            self._object = obj
        return obj

    def decode_at(self, revision: int) -> Obj:
        """A new decoded object that says ``revision``."""
        return self._codec.decode(self.value, revision)


class CacheEvent:
    """One change. ``entry`` is what the event shows: for DELETED, the last state; ``revision`` is the change's own.

    ``encoded`` is the consumers' memo, by variant of encoding: shared by all watchers who see the same event.
    """

    __slots__ = ("_object", "_others", "encoded", "entry", "previous", "revision", "type")

    def __init__(self, type_: ChangeType, entry: CachedEntry, previous: CachedEntry | None, revision: int) -> None:
        self.type: ChangeType = type_
        self.entry = entry
        self.previous = previous
        self.revision = revision
        self.encoded: dict[str, bytes] = {}
        self._others: dict[ChangeType, CacheEvent] | None = None
        self._object: Obj | None = None

    def __repr__(self) -> str:
        return f"CacheEvent({self.type} {self.entry.key} @{self.revision})"

    @property
    def cost(self) -> int:
        """About how many bytes the event keeps alive: its state, the previous one, an encoding."""
        sizes = [len(entry.entry.value) for entry in (self.entry, self.previous) if entry and not entry.damaged]
        return 500 + 2 * sum(sizes)

    def object(self) -> Obj:
        """The decoded object at the event's revision: read-only."""
        if self.type != "DELETED":
            return self.entry.object()
        if self._object is None:
            self._object = self.entry.decode_at(self.revision)
        return self._object

    def as_type(self, type_: ChangeType) -> CacheEvent:
        """The same change to a watcher whose selector it enters or leaves; made once for all of them."""
        if type_ == self.type:
            return self
        if self._others is None:
            self._others = {}
        other = self._others.get(type_)
        if other is None:
            entry = self.previous if type_ == "DELETED" and self.previous is not None else self.entry
            other = self._others[type_] = CacheEvent(type_, entry, self.previous, self.revision)
        return other


class Source(Protocol):
    """The part of the watch cache that a watch needs."""

    @property
    def store(self) -> Store: ...

    @property
    def revision(self) -> int: ...

    def event(self, change: Change) -> CacheEvent: ...


class CacheWatch:
    """``async for events in watch``: batches, never empty. Raises WatchOverflow, Compacted; ends once closed."""

    __slots__ = (
        "_after",
        "_handed",
        "_history_end",
        "_initial",
        "_initial_at",
        "_last",
        "_mailbox",
        "_on_close",
        "_selector",
        "_source",
        "initial_revision",
        "prefix",
    )

    def __init__(
        self,
        source: Source,
        prefix: str,
        after: int,
        selector: Selector | None,
        initial: Sequence[CachedEntry],
        limit: int,
        on_close: Callable[[CacheWatch], None],
    ) -> None:
        self.prefix = prefix
        #: The state that the initial events are of; the start of a watch without any.
        self.initial_revision = after
        self._source = source
        self._selector = selector
        self._initial = initial
        self._initial_at = 0
        self._mailbox: Mailbox[CacheEvent] = Mailbox(limit)
        self._on_close = on_close
        self._last = after  # newest revision put into the mailbox
        self._after = self._history_end = after  # history still to be read from the store
        self._handed = after if not initial else 0

    @property
    def initial_done(self) -> bool:
        """All initial events have been handed out."""
        return self._initial_at >= len(self._initial)

    @property
    def position(self) -> int:
        """Everything up to this revision has been handed out: what a bookmark may say. 0: not yet known."""
        if self.initial_done and self._after >= self._history_end and not self._mailbox:
            return max(self._handed, self.initial_revision, self._source.revision)
        return self._handed

    def resume(self, events: Sequence[CacheEvent] | None) -> None:
        """For the cache: the events since the start, or None to read them from the store's history."""
        if events is None:
            self._history_end = self._last = self._source.revision
            return
        for event in events:
            if self._mine(event.entry.key):
                self.push(event)

    def push(self, event: CacheEvent) -> None:
        """For the cache: queues the event if the watch has not passed it and its selector sees it."""
        if event.revision <= self._last:
            return
        self._last = event.revision
        seen = self._select(event)
        if seen is not None and not self._mailbox.put(seen):
            self._on_close(self)

    def __aiter__(self) -> AsyncIterator[Sequence[CacheEvent]]:
        return self

    async def __anext__(self) -> Sequence[CacheEvent]:
        while not self.initial_done:
            events = self._next_initial()
            if events:
                return events
        while self._after < self._history_end:
            events = await self._next_history()
            if events:
                return events
        events = await self._mailbox.take()
        self._handed = events[-1].revision
        return events

    def close(self) -> None:
        self._initial, self._initial_at = (), 0
        self._history_end = self._after
        self._mailbox.close()
        self._on_close(self)

    def _next_initial(self) -> list[CacheEvent]:
        if self._mailbox.closed:
            self._mailbox.check()
        chunk = self._initial[self._initial_at : self._initial_at + _CHUNK]
        self._initial_at += len(chunk)
        if self.initial_done:
            self._initial, self._initial_at = (), 0
            self._handed = self.initial_revision
        return [CacheEvent("ADDED", entry, None, entry.revision) for entry in chunk if self._sees(entry)]

    async def _next_history(self) -> list[CacheEvent]:
        if self._mailbox.closed:
            self._mailbox.check()
        changes = await self._source.store.changes(self.prefix, self._after, self._history_end, _CHUNK)
        events = [
            seen
            for change in changes
            if self._mine(change.key) and (seen := self._select(self._source.event(change))) is not None
        ]
        self._after = changes[-1].revision if len(changes) == _CHUNK else self._history_end
        self._handed = max(self._handed, self._after)
        return events

    def _mine(self, key: str) -> bool:
        return key.startswith(self.prefix) if self.prefix.endswith("/") else key == self.prefix

    def _sees(self, entry: CachedEntry | None) -> bool:
        return entry is not None and not entry.damaged and (self._selector is None or self._selector(entry))

    def _select(self, event: CacheEvent) -> CacheEvent | None:
        before = self._sees(event.previous)
        after = event.type != "DELETED" and self._sees(event.entry)
        if after:
            return event.as_type("MODIFIED" if before else "ADDED")
        return event.as_type("DELETED") if before else None
