"""The bounded queue of one watcher. A watcher that lets it run full is cut off; nobody else notices.

Used by the watches of the watch cache. It is bounded in items and in bytes. Runs on the event loop only.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from sampan.store.protocol import WatchOverflow

T = TypeVar("T")


class Mailbox(Generic[T]):
    __slots__ = ("_bytes", "_bytes_limit", "_closed", "_items", "_limit", "_overflow", "_waiter")

    def __init__(self, limit: int, bytes_limit: int) -> None:
        self._limit = limit
        self._bytes_limit = bytes_limit
        self._bytes = 0
        self._items: list[T] = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._overflow = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, item: T, size: int) -> bool:
        """False: the queue is closed, by its owner or because it is full as of now."""
        if self._closed:
            return False
        self._bytes += size
        # A single item is never too big: whoever has read everything else gets it.
        if len(self._items) >= self._limit or (self._items and self._bytes > self._bytes_limit):
            self._overflow = True
            self.close()
            return False
        self._items.append(item)
        self._wake()
        return True

    def close(self) -> None:
        """Ends the queue. What was not taken is dropped: it must not hold memory."""
        self._closed = True
        self._items.clear()
        self._wake()

    def check(self) -> None:
        """Raises what ``take`` would raise now on an empty queue."""
        if self._overflow:
            raise WatchOverflow("the watcher did not keep up and was cut off")
        if self._closed:
            raise StopAsyncIteration

    async def take(self) -> list[T]:
        """All that is queued, at least one item. Raises WatchOverflow; StopAsyncIteration once closed."""
        while not self._items:
            self.check()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        items, self._items, self._bytes = self._items, [], 0
        return items

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
