"""The client of an upgraded connection, as streams, whatever it speaks.

One task reads the connection (``run``), any number write. A stream that its user does not read stops the reading of
the whole connection: none of the protocols has flow control of its own. A client that goes away meanwhile cannot be
seen, because its end lies behind what was not read; so it is pinged, which the machine of a client that has gone
answers with a reset.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from sampan.node.api.streams import ClientConnection
from sampan.node.inbox import Inbox

#: nothing in either direction for so long ends the connection (the kubelet's streamingConnectionIdleTimeout)
IDLE_SECONDS = 4 * 3600.0
#: a client that is not read for so long is asked whether it is still there
STALL_SECONDS = 1.0
#: how long a client may take to close its end once everything was said
LINGER_SECONDS = 10.0


class PeerGone(Exception):
    """The client said goodbye, or broke the protocol and was told so."""


class PeerStream(ABC):
    """One stream to a client; ``inbox`` holds what came from it."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when the client has gone."""

    async def finish(self) -> None:
        """Nothing more will be written. Raises ConnectionError."""
        return


class Peer(ABC):
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._active_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Takes what the client sends until it has gone."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout_at(self._active_at + IDLE_SECONDS):
                        data = await self.connection.read()
                except TimeoutError:
                    if loop.time() >= self._active_at + IDLE_SECONDS:
                        return
                    continue  # something was written meanwhile
                if not data:
                    return
                self._active_at = loop.time()
                await self._take(data)
        except (PeerGone, ConnectionError, ssl.SSLError):
            return

    @abstractmethod
    async def _take(self, data: bytes) -> None:
        """Raises PeerGone, ConnectionError."""

    @abstractmethod
    def _ping(self) -> None:
        """Raises ConnectionError."""

    @abstractmethod
    async def goodbye(self) -> None:
        """Tells the client that all was said. Raises ConnectionError."""

    async def deliver(self, inbox: Inbox, data: bytes) -> None:
        """Puts data into an inbox and waits until there is room for more. Raises ConnectionError."""
        inbox.add(data)
        while inbox.is_full:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await inbox.room()
            except TimeoutError:
                self._ping()

    async def send(self, data: bytes) -> None:
        self._active_at = asyncio.get_running_loop().time()
        await self.connection.write(data)


async def serve(peer: Peer, work: Coroutine[Any, Any, None]) -> None:
    """Runs what is done for a client until it is done or the client has gone, and ends the connection properly.

    A client that still sends when all is over is listened to for a while: closing on it at once would reset the
    connection, and the last of what it was sent would be lost.
    """
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(peer.run(), name="client of a stream")
        working = group.create_task(_until_broken(work), name="work for the client of a stream")
        try:
            await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not working.cancelled() and working.exception() is None and not reading.done():
                async with asyncio.timeout(LINGER_SECONDS):
                    await _until_broken(peer.goodbye())
                    await asyncio.wait((reading,))
        except TimeoutError:
            pass  # it stays although all was said, or does not read it
        finally:
            reading.cancel()
            working.cancel()
            peer.connection.close()


async def _until_broken(work: Coroutine[Any, Any, None]) -> None:
    """A client that goes away is a normal end."""
    try:
        await work
    except (ConnectionError, ssl.SSLError):
        return
