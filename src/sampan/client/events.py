"""Records core/v1 Events: what a component did and why, for people and tools.

``EventRecorder.event`` never blocks and never fails: events wait in a bounded queue that ``run`` writes out. Repeats of
one event raise its count, many similar ones are combined, a flood about one object is cut (client-go ``record``,
``EventCorrelator``). One event loop. Losing an Event is allowed; holding up a component for one is not.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar

from sampan.api.clock import Clock, format_time
from sampan.api.errors import AlreadyExists, ApiError, Forbidden, NotFound
from sampan.api.resources import EVENTS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.signal import Signal
from sampan.records import dataclass

log = logging.getLogger(__name__)

EventKind = Literal["Normal", "Warning"]

QUEUE_SIZE = 1000
#: The limits of client-go's EventCorrelator.
CACHE_SIZE = 4096
SPAM_BURST = 25
SPAM_REFILL = timedelta(seconds=300)
SIMILAR_LIMIT = 10
SIMILAR_INTERVAL = timedelta(minutes=10)
MESSAGE_LIMIT = 1024
#: events of one object and moment; more are lost
_SAME_MOMENT = 16

#: messages that all recorders of this process hold once: what a thousand nodes say is mostly the same. Not
#: ``sys.intern``: texts that Python 3.12 is given so are never freed.
_MESSAGES_KEPT = 1024
_messages: dict[str, str] = {}

V = TypeVar("V")


def _one_of(message: str) -> str:
    """The one that stands for all that are equal."""
    if len(_messages) >= _MESSAGES_KEPT:
        _messages.clear()
    return _messages.setdefault(message, message)


class _Lru(Generic[V]):
    """A plain dict, the last used at its end: each of thousands of nodes has three, and an OrderedDict takes twice as
    much."""

    __slots__ = ("_items", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: dict[Hashable, V] = {}

    def get(self, key: Hashable) -> V | None:
        value = self._items.pop(key, None)
        if value is not None:
            self._items[key] = value
        return value

    def put(self, key: Hashable, value: V) -> None:
        self._items.pop(key, None)
        self._items[key] = value
        if len(self._items) > self._limit:
            del self._items[next(iter(self._items))]


@dataclass(slots=True)
class _Bucket:
    """A token bucket: how many more events about one object may be written."""

    #: what the key is made of: other keys hold the same tuple, not one of their own
    about: tuple[str, ...]
    tokens: float
    updated: datetime


@dataclass(slots=True)
class _Similar:
    """Distinct messages of events that agree in all else."""

    messages: tuple[str, ...] = ()
    last: datetime | None = None


@dataclass(slots=True)
class _Written:
    """The stored Event that repeats are counted on."""

    namespace: str
    name: str
    count: int


def reference_to(obj: Obj, field_path: str = "") -> Obj:
    """The ObjectReference of an object; a reference is returned as it is."""
    if "metadata" not in obj:
        return obj
    meta = obj["metadata"]
    reference: Obj = {"kind": obj.get("kind", ""), "apiVersion": obj.get("apiVersion", "")}
    for wire, value in (
        ("namespace", meta.get("namespace")),
        ("name", meta.get("name")),
        ("uid", meta.get("uid")),
        ("resourceVersion", meta.get("resourceVersion")),
        ("fieldPath", field_path),
    ):
        if value:
            reference[wire] = value
    return reference


class EventRecorder:
    def __init__(self, client: Client, component: str, host: str, clock: Clock) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._queue: list[Obj] = []
        self._news = Signal()
        self._serial = 0
        self._buckets: _Lru[_Bucket] = _Lru(CACHE_SIZE)
        self._similar: _Lru[_Similar] = _Lru(CACHE_SIZE)
        self._written: _Lru[_Written] = _Lru(CACHE_SIZE)

    def event(self, about: Obj, kind: EventKind, reason: str, message: str, *, field_path: str = "") -> None:
        """``about`` is an object or an ObjectReference. Dropped when the queue is full or the object floods."""
        now = self._clock.now()
        reference = reference_to(about, field_path)
        key = self._admit(reference, now)
        if key is None:
            return
        message = self._combine(key, kind, reason, message[:MESSAGE_LIMIT], now)
        moment = format_time(now)
        self._serial += 1
        stamp = int(now.timestamp() * 1_000_000) * 1000 + self._serial % 1000
        event: Obj = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": f"{reference.get('name', '')}.{stamp:x}",
                # Events about cluster-scoped objects live in "default".
                "namespace": reference.get("namespace") or "default",
            },
            "involvedObject": reference,
            "reason": reason,
            "message": message,
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
            "type": kind,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        if len(self._queue) >= QUEUE_SIZE:
            log.debug("event queue full, dropping %s %s", reason, message)
            return
        self._queue.append(event)
        self._news.set()

    async def run(self) -> None:
        """Writes events until cancelled."""
        while True:
            await self.flush()
            self._news.clear()
            await self._news.wait()

    async def flush(self) -> None:
        """Writes what is queued now: for shutdown and tests."""
        while self._queue:
            await self._write_apart(self._queue.pop(0))

    def _admit(self, reference: Obj, now: datetime) -> tuple[str, ...] | None:
        """What the event is about; None: there were too many of it."""
        key = _about(reference)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(key, float(SPAM_BURST), now)
            self._buckets.put(key, bucket)
        refilled = (now - bucket.updated) / SPAM_REFILL
        bucket.tokens = min(float(SPAM_BURST), bucket.tokens + refilled)
        bucket.updated = now
        if bucket.tokens < 1:
            return None
        bucket.tokens -= 1
        return bucket.about

    def _combine(self, about: tuple[str, ...], kind: str, reason: str, message: str, now: datetime) -> str:
        key = (about, kind, reason)
        similar = self._similar.get(key)
        if similar is None or similar.last is None or now - similar.last > SIMILAR_INTERVAL:
            similar = _Similar()
            self._similar.put(key, similar)
        similar.last = now
        if message in similar.messages:
            return message
        if len(similar.messages) < SIMILAR_LIMIT:
            similar.messages += (_one_of(message),)
            return message
        return f"(combined from similar events): {message}"

    async def _write_apart(self, event: Obj) -> None:
        """An Event may be lost; the component that it is of goes on."""
        try:
            await self._write(event)
        except Exception:  # a fault of ours: this event is lost, and those behind it are written
            log.exception("event %s not written", event["metadata"]["name"])

    async def _write(self, event: Obj) -> None:
        combined = event["message"].startswith("(combined from similar events): ")
        about = _about(event["involvedObject"])
        bucket = self._buckets.get(about)
        key = (bucket.about if bucket else about, event["type"], event["reason"], combined or event["message"])
        written = self._written.get(key)
        try:
            if written is not None and await self._repeat(written, event):
                return
            await self._create(key, event)
        except (Forbidden, NotFound) as error:
            # The namespace is going or gone: nobody will read the event there.
            log.debug("event %s not written: %s", event["metadata"]["name"], error.message)
        except ApiError as error:
            log.warning("event %s not written: %s", event["metadata"]["name"], error.message)

    async def _create(self, key: Hashable, event: Obj) -> None:
        """Two components, or one twice, may tell of an object in the same moment, which the name is made of: then the
        next free moment names the event."""
        meta = event["metadata"]
        name, _, stamp = meta["name"].rpartition(".")
        for later in range(_SAME_MOMENT):
            meta["name"] = f"{name}.{int(stamp, 16) + later:x}"
            try:
                # The reference may be somebody's own.
                given = {**event, "metadata": dict(meta), "involvedObject": dict(event["involvedObject"])}
                await self._client.create(EVENTS, given, shared=True)
            except AlreadyExists:
                continue
            self._written.put(key, _Written(meta["namespace"], meta["name"], 1))
            return

    async def _repeat(self, written: _Written, event: Obj) -> bool:
        """Counts the event on the stored one; False when that one has expired."""
        patch = {
            "count": written.count + 1,
            "lastTimestamp": event["lastTimestamp"],
            "message": event["message"],
        }
        try:
            await self._client.patch(EVENTS, written.name, patch, written.namespace)
        except NotFound:
            return False
        written.count += 1
        return True


def _about(reference: Obj) -> tuple[str, ...]:
    return tuple(str(reference.get(part, "")) for part in ("kind", "namespace", "name", "uid", "fieldPath"))
