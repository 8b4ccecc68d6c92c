"""Bytes of one stream on their way from the task that receives them to the task that uses them, within a bound.

Used at both ends of the node's streaming: by the node API for what clients send, by ``cri.streaming`` for what the
runtime sends. One task adds, one reads.
"""

from __future__ import annotations

import asyncio
from collections import deque

#: what may lie here; the receiving side stops reading its connection beyond it
INBOX_BYTES = 256 << 10


class Inbox:
    """Invariant: ``size`` is the sum of what lies in ``_pieces``."""

    def __init__(self, limit_bytes: int = INBOX_BYTES) -> None:
        self._limit = limit_bytes
        self._pieces: deque[bytes] = deque()
        self._changed: asyncio.Event = asyncio.Event()
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._discarding = False
        self.size = 0
        #: nothing more will be added
        self.ended = False

    def add(self, data: bytes) -> None:
        """Never waits: ask ``room`` afterwards."""
        if self._discarding or self.ended or not data:
            return
        self._pieces.append(data)
        self.size += len(data)
        self._changed.set()
        if self.size >= self._limit:
            self._room.clear()

    def end(self) -> None:
        self.ended = True
        self._changed.set()

    @property
    def is_full(self) -> bool:
        return not self._room.is_set()

    async def room(self) -> None:
        """Waits until there is room for more, or nobody reads any more."""
        await self._room.wait()

    async def read(self) -> bytes:
        """The next piece; b"" at the end."""
        while not self._pieces:
            if self.ended or self._discarding:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._pieces.popleft()
        self.size -= len(data)
        if self.size < self._limit // 2:
            self._room.set()
        return data

    def discard(self) -> None:
        """Nobody reads any more: what lies here and what still comes is dropped."""
        self._discarding = True
        self._pieces.clear()
        self.size = 0
        self._room.set()
        self._changed.set()
