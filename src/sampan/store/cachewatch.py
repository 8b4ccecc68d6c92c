"""What the watch cache hands out: described entries, events, and open watches. Made by ``cache`` only.

An entry is decoded when nobody in this process has its object at hand, described, and only its bytes stay, unless
somebody follows the cache who wants objects.

A watch is for one consumer. The rules it keeps: events strictly after its start, each once, in revision order; what
enters its selector is ADDED, what leaves it is DELETED with the last state that matched; a consumer that does not
keep up gets WatchOverflow, and nobody else notices.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from sampan.api.types import Obj
from sampan.store.mailbox import Mailbox
from sampan.store.protocol import Change, Entry, EntryDamaged, Store

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Describe: TypeAlias = Callable[[Obj], tuple[Mapping[str, str], Mapping[str, str]]]
Decode: TypeAlias = Callable[[bytes, int], Obj]
#: of what a writer noted, the object at the revision that its commit got; the note itself stays as it is
Adopt: TypeAlias = Callable[[Obj, int], Obj]
Selector: TypeAlias = Callable[["CachedEntry"], bool]
#: a field and the one value of it that concerns somebody
Only: TypeAlias = tuple[str, str]

_CHUNK = 500
#: an event with its entry, labels and fields, besides the value
_EVENT_BYTES = 1000
_LINE_BYTES = 150
_NONE: Mapping[str, str] = {}
#: so many sets of labels are remembered to be shared: the pods of one template have the same
_SHARED = 2048


def unchanged(value: bytes) -> bytes:
    return value


class Codec:
    """How one cache reads its values. ``current`` makes the present form of a value from an older one, and gives a
    value that has it back as it is. ``keep``: decoded objects stay with their entries, for somebody in this process
    wants them; otherwise they would only take several times the memory of the values."""

    __slots__ = ("_names", "_shared", "adopt", "current", "decode", "describe", "keep", "retired")

    def __init__(
        self,
        describe: Describe,
        decode: Decode,
        current: Callable[[bytes], bytes] = unchanged,
        adopt: Adopt | None = None,
    ) -> None:
        self.decode = decode
        self.describe = describe
        self.current = current
        self.adopt = adopt
        self.keep = False
        #: for entries that were replaced: the same, but it never keeps objects
        self.retired: Codec = self
        self._shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        #: the names of fields that entries have, with their places
        self._names: dict[tuple[str, ...], dict[str, int]] = {}

    def follow(self) -> None:
        """Lets objects be kept from now on."""
        if self.retired is self:
            self.retired = Codec(self.describe, self.decode, self.current, self.adopt)
        self.keep = True

    def shared(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The same labels, one copy for all entries that have them."""
        if not labels:
            return _NONE
        items = tuple(labels.items())
        found = self._shared.get(items)
        if found is None:
            if len(self._shared) >= _SHARED:
                self._shared.clear()
            found = self._shared[items] = dict(labels)
        return found

    def fields(self, fields: Mapping[str, str]) -> Mapping[str, str]:
        """The same fields in a third of the memory: their names are held once for all entries."""
        names = tuple(fields)
        places = self._names.get(names)
        if places is None:
            if len(self._names) >= _SHARED:
                self._names.clear()
            places = self._names[names] = {name: place for place, name in enumerate(names)}
        return Fields(places, tuple(fields.values()))


class Fields(Mapping[str, str]):
    """Values of selectable fields. Invariant: ``_places`` gives each name its place in ``_values``."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: dict[str, int], values: tuple[str, ...]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, name: str) -> str:
        return self._values[self._places[name]]

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]  # all values are text
        place = self._places.get(name)
        return default if place is None else self._values[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)


class CachedEntry:
    """A key's value with what selectors look at. ``damaged``: the value cannot be read; ``value`` and ``object``
    raise EntryDamaged and no selector sees it.

    ``note``: the decoded object, as far as it is known already. Nobody may change it any more.
    """

    __slots__ = ("_codec", "_object", "damaged", "entry", "fields", "labels")

    def __init__(self, entry: Entry, codec: Codec, note: object | None = None) -> None:
        self.entry = entry
        self._codec = codec
        self._object: Obj | None = None
        self.damaged = False
        self.labels, self.fields = _NONE, _NONE
        try:
            obj: Obj
            if isinstance(note, dict):
                obj = codec.adopt(note, entry.revision) if codec.keep and codec.adopt else note
                known = codec.adopt is not None
            else:
                value = codec.current(entry.value)
                if value is not entry.value:
                    self.entry = Entry(entry.key, value, entry.revision, entry.created)
                obj = codec.decode(value, entry.revision)
                known = True
            labels, fields = codec.describe(obj)
            self.labels, self.fields = codec.shared(labels), codec.fields(fields)
        except (EntryDamaged, ValueError, TypeError, LookupError, AttributeError):
            # Damage that passed the checksum shows as JSON that is none, or no object. It is reported on access.
            self.damaged = True
            return
        if codec.keep and known:
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

    def kept(self) -> Obj | None:
        """The shared object, where objects are kept; None: whoever wants one has to decode it."""
        return self.object() if self._codec.keep else None

    def forget(self) -> None:
        """Lets go of the decoded object."""
        self._object = None

    def retire(self) -> None:
        """The entry was replaced: only its bytes are kept, for history."""
        self._object = None
        self._codec = self._codec.retired

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
        """About how many bytes the event alone keeps alive: the state that was replaced."""
        previous = self.previous
        return _EVENT_BYTES + (len(previous.entry.value) if previous is not None and not previous.damaged else 0)

    @property
    def size(self) -> int:
        """About how many bytes it takes to tell of the event."""
        return _LINE_BYTES + (0 if self.entry.damaged else len(self.entry.entry.value))

    def forget(self) -> None:
        """Lets go of what was made of the event so far."""
        self.encoded.clear()
        self._others = self._object = None

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


def sees(selector: Selector | None, entry: CachedEntry | None) -> bool:
    return entry is not None and not entry.damaged and (selector is None or selector(entry))


def select(event: CacheEvent, selector: Selector | None) -> CacheEvent | None:
    """What a watcher with this selector is told of the event: what enters is ADDED, what leaves DELETED."""
    before = sees(selector, event.previous)
    if event.type != "DELETED" and sees(selector, event.entry):
        return event.as_type("MODIFIED" if before else "ADDED")
    return event.as_type("DELETED") if before else None


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
        "_mailbox",
        "_passed",
        "_remove",
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
        bytes_limit: int,
    ) -> None:
        self.prefix = prefix
        #: The state that the initial events are of; the start of a watch without any.
        self.initial_revision = after
        self._source = source
        self._selector = selector
        self._initial = initial
        self._initial_at = 0
        self._mailbox: Mailbox[CacheEvent] = Mailbox(limit, bytes_limit)
        self._remove: Callable[[], None] | None = None
        self._passed = after  # what was before is none of the mailbox's
        self._after = self._history_end = after  # history still to be read from the store
        self._handed = after if not initial else 0

    @property
    def initial_done(self) -> bool:
        """All initial events have been handed out."""
        return self._initial_at >= len(self._initial)

    @property
    def caught_up(self) -> bool:
        """Initial events and history have been handed out, and nothing was lost: what comes next is what happens
        next. A watch that ended, or did not keep up, is never that: ``__anext__`` says why."""
        return self.initial_done and self._after >= self._history_end and not self._mailbox.closed

    @property
    def idle(self) -> bool:
        """Nothing that has happened waits to be handed out."""
        return self.caught_up and not self._mailbox

    @property
    def position(self) -> int:
        """Everything up to this revision has been handed out: what a bookmark may say. 0: not yet known."""
        if self.idle:
            return max(self._handed, self.initial_revision, self._source.revision)
        return self._handed

    def opened(self, remove: Callable[[], None]) -> None:
        """For the cache: it pushes from now on, until ``remove`` is called."""
        self._remove = remove

    def resume(self, events: Sequence[CacheEvent] | None) -> None:
        """For the cache: the events since the start, or None to read them from the store's history."""
        if events is None:
            self._history_end = self._passed = self._source.revision
            return
        for event in events:
            if self._mine(event.entry.key):
                self.push(event)

    def push(self, event: CacheEvent) -> None:
        """For the cache: queues the event if the watch has not passed it and its selector sees it."""
        if event.revision <= self._passed:
            return
        seen = select(event, self._selector)
        if seen is not None and not self._mailbox.put(seen, seen.size):
            self._end()

    def __aiter__(self) -> AsyncIterator[Sequence[CacheEvent]]:
        return self

    async def __anext__(self) -> Sequence[CacheEvent]:
        while not (events := await self.read_on()):
            pass
        return events

    async def read_on(self) -> Sequence[CacheEvent]:
        """One portion of what is there, or of history, which may hold nothing for this watch; once caught up, what
        happens next. For those who have something else to do as soon as a watch is caught up. Raises as iteration."""
        if not self.initial_done:
            return self._next_initial()
        if self._after < self._history_end:
            return await self._next_history()
        events = await self._mailbox.take()
        self._handed = events[-1].revision
        return events

    def close(self) -> None:
        self._initial, self._initial_at = (), 0
        self._history_end = self._after
        self._mailbox.close()
        self._end()

    def _end(self) -> None:
        if self._remove is not None:
            self._remove()
            self._remove = None

    def _next_initial(self) -> list[CacheEvent]:
        if self._mailbox.closed:
            self._mailbox.check()
        chunk = self._initial[self._initial_at : self._initial_at + _CHUNK]
        self._initial_at += len(chunk)
        if self.initial_done:
            self._initial, self._initial_at = (), 0
            self._handed = self.initial_revision
        return [CacheEvent("ADDED", entry, None, entry.revision) for entry in chunk if sees(self._selector, entry)]

    async def _next_history(self) -> list[CacheEvent]:
        if self._mailbox.closed:
            self._mailbox.check()
        changes = await self._source.store.changes(self.prefix, self._after, self._history_end, _CHUNK)
        events = [
            seen
            for change in changes
            if self._mine(change.key) and (seen := select(self._source.event(change), self._selector)) is not None
        ]
        self._after = changes[-1].revision if changes else self._history_end
        self._handed = max(self._handed, self._after)
        return events

    def _mine(self, key: str) -> bool:
        return key.startswith(self.prefix) if self.prefix.endswith("/") else key == self.prefix
