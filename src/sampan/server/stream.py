"""Answers that are pushed instead of pulled: the seam between live events and the connections that carry them.

A watch makes a ``PushBody``; a transport starts it with its own ``Stream`` once the head of the answer is out. From
then on the body writes when it has something, from the event loop only, and no task waits on either side. What many
connections are sent is one ``Batch``, framed once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Batch:
    """Bytes for any number of streams, whole events one after the other. ``chunk``: the same as one chunk of HTTP/1.1,
    made on first use; ``frames``: as messages of a WebSocket, kept by whoever made them."""

    __slots__ = ("_chunk", "data", "frames")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.frames: bytes | None = None
        self._chunk: bytes | None = None

    @property
    def chunk(self) -> bytes:
        if self._chunk is None:
            self._chunk = b"%x\r\n%s\r\n" % (len(self.data), self.data)
        return self._chunk


class Stream(Protocol):
    """The sending side of one answer. Nothing here raises because the peer has gone; ``closed`` says it."""

    @property
    def closed(self) -> bool:
        """The connection is gone, or the answer was finished or aborted."""
        ...

    def push(self, batch: Batch) -> None:
        """Sends at once. A peer that has left more than the transport's limit unread is cut off (``abort``)."""
        ...

    async def write(self, data: bytes) -> None:
        """Sends, and waits while the peer does not keep up: for what is long and not live (initial events)."""
        ...

    def finish(self) -> None:
        """The answer is complete: the connection may serve another request."""
        ...

    def abort(self) -> None:
        """The answer stays incomplete, and the connection ends so that the peer knows."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Calls back once when the connection is lost, finished or aborted; at once if that has happened."""
        ...


class PushBody(Protocol):
    """The body of a ``Response`` that is pushed."""

    def start(self, stream: Stream) -> None:
        """Called once, on the event loop, when the head is out. Ends by ``finish`` or ``abort``."""
        ...

    def cancel(self) -> None:
        """Called instead of ``start`` when the head could not be sent."""
        ...
