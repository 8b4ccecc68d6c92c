"""Pushed watches: followers with the same question share one channel, and what they are sent is made once.

A change is selected and encoded once a channel. All that happens in one turn of the event loop leaves as one batch,
which every follower is handed at its end; no follower has a task, a queue or a copy. Made by ``cache`` only. Runs on
the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeAlias

from sampan.store.cachewatch import CacheEvent, Selector, select

log = logging.getLogger(__name__)

#: more than this is not gathered: it leaves before the turn ends
_BATCH_BYTES = 256 * 1024

Encode: TypeAlias = Callable[[CacheEvent], bytes]
MakeBatch: TypeAlias = Callable[[bytes], Any]


class Follower(Protocol):
    def push(self, batch: Any) -> None:
        """Takes what ``MakeBatch`` made. Must not block; one that raises is dropped."""
        ...


class Events(Protocol):
    """The part of the watch cache that a channel needs."""

    def since(self, prefix: str, key: str | None, revision: int) -> Sequence[CacheEvent] | None:
        """The events after ``revision`` that concern the prefix or key; None when they are no longer all there."""
        ...


class Channel:
    """Invariant: what is in ``_pending`` was encoded in this turn of the loop, and every follower still gets it."""

    __slots__ = (
        "_batch",
        "_encode",
        "_events",
        "_flushing",
        "_followers",
        "_key",
        "_pending",
        "_pending_bytes",
        "_prefix",
        "_register",
        "_selector",
        "_unregister",
        "ident",
    )

    def __init__(
        self,
        ident: Hashable,
        events: Events,
        prefix: str,
        key: str | None,
        selector: Selector | None,
        encode: Encode,
        batch: MakeBatch,
        register: Callable[[Channel], Callable[[], None]],
    ) -> None:
        """``register`` has the cache push to the channel, from its first follower to its last; it gives the end."""
        self.ident = ident
        self._events = events
        self._prefix, self._key = prefix, key
        self._selector = selector
        self._encode = encode
        self._batch = batch
        self._register = register
        self._unregister: Callable[[], None] | None = None
        self._followers: dict[Follower, None] = {}
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flushing: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many follow."""
        return len(self._followers)

    def join(self, follower: Follower, after: int) -> Callable[[], None] | None:
        """Hands the follower every event after ``after``, the past ones at once, later ones as they come.

        Returns what makes it leave. None: the recent events no longer reach back so far, and nothing was handed out;
        read on with a watch of the cache, and join at its ``position``.
        """
        self.flush()  # to those who were there: the newcomer gets the same out of the recent events
        events = self._events.since(self._prefix, self._key, after)
        if events is None:
            return None
        past = [line for event in events if (line := self._line(event))]
        if past:
            follower.push(self._batch(b"".join(past)))
        self._followers[follower] = None
        if self._unregister is None:
            self._unregister = self._register(self)
        return lambda: self._leave(follower)

    def push(self, event: CacheEvent) -> None:
        """For the cache: a change that may concern the followers."""
        line = self._line(event)
        if not line:
            return
        self._pending.append(line)
        self._pending_bytes += len(line)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)
        if self._pending_bytes > _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands out what waits. After it every follower has been given all events up to the cache's revision: a
        bookmark may say so."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self._pending:
            return
        batch = self._batch(b"".join(self._pending))
        self._pending, self._pending_bytes = [], 0
        for follower in tuple(self._followers):
            try:
                follower.push(batch)
            except Exception:  # one follower's fault must not cost the others the events
                log.exception("a follower failed and is dropped")
                self._leave(follower)

    def close(self) -> None:
        """Followers are told nothing more. Whoever closes the cache ends their streams."""
        self._followers.clear()
        self._pending, self._pending_bytes = [], 0
        self.flush()
        if self._unregister is not None:
            self._unregister()
            self._unregister = None

    def _line(self, event: CacheEvent) -> bytes:
        seen = select(event, self._selector)
        if seen is None:
            return b""
        try:
            return self._encode(seen)
        except Exception:
            log.exception("%r cannot be encoded and is left out", seen)
            return b""

    def _leave(self, follower: Follower) -> None:
        self._followers.pop(follower, None)
        if not self._followers:
            self.close()
