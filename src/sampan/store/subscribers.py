"""Those who follow a watch cache as objects: what each is told of a change. Used by ``cache``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias

from sampan.api.types import Obj
from sampan.store.cachewatch import CachedEntry, CacheEvent, ChangeType

log = logging.getLogger(__name__)

#: ``(type, object, previous object, revision)``; a DELETED's object is the last state at the deletion's revision.
Subscriber: TypeAlias = Callable[[Literal["ADDED", "MODIFIED", "DELETED"], Obj, Obj | None, int], None]


def readable(event: CacheEvent) -> tuple[CachedEntry | None, CachedEntry | None]:
    """What was there before and what is there after; a value that cannot be read counts as absent."""
    before = event.previous if event.previous is not None and not event.previous.damaged else None
    after = event.entry if event.type != "DELETED" and not event.entry.damaged else None
    return before, after


def tell(callback: Subscriber, kind: ChangeType, shown: Obj, previous: Obj | None, event: CacheEvent) -> None:
    try:
        callback(kind, shown, previous, event.revision)
    except Exception:  # one subscriber's fault must not cost the others the change
        log.exception("a subscriber failed at revision %d of %s", event.revision, event.entry.key)


class Signal:
    """One who wants to know that something changed, and not what; as a target of the cache's interests."""

    __slots__ = ("_changed",)

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def push(self, event: CacheEvent) -> None:
        try:
            self._changed()
        except Exception:  # one subscriber's fault must not cost the others the change
            log.exception("a subscriber failed at revision %d of %s", event.revision, event.entry.key)


class PartSubscriber:
    """One who follows a part of the resource, as a target of the cache's interests."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Subscriber) -> None:
        self._callback = callback

    def push(self, event: CacheEvent) -> None:
        before, after = readable(event)
        previous = before.object() if before is not None else None
        if after is not None:
            kind: ChangeType = "MODIFIED" if before is not None else "ADDED"
            tell(self._callback, kind, after.object(), previous, event)
        elif before is not None:
            tell(self._callback, "DELETED", event.as_type("DELETED").object(), previous, event)
