"""Listens, knows every connection, and does for all of them what need not be done by each.

Once a tick it looks at their deadlines and renews the date; once a turn of the event loop it writes what was pushed.
It routes nothing and decides nothing: a ``Request`` goes to the one ``Answerer``, its ``Response`` is written.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol, cast

from sampan.api import errors
from sampan.api.clock import Clock, SystemClock
from sampan.server.errors import status_response
from sampan.server.http.answers import Compressed, date_line
from sampan.server.http.connection import HttpConnection
from sampan.server.http.handshakes import TlsListener
from sampan.server.http.heads import HeadMemo, HeadParser
from sampan.server.http.limits import Limits
from sampan.server.http.streams import PushStream
from sampan.server.request import Handler, Request, Response

log = logging.getLogger(__name__)


class Answerer(Protocol):
    """Who answers requests. Neither method raises, except when cancelled."""

    def answer_now(self, request: Request) -> Response | None:
        """The answer to a GET or HEAD, if it is at hand; None: ``handle`` is to be asked."""
        ...

    async def handle(self, request: Request) -> Response: ...


def _never_now(request: Request) -> Response | None:
    return None


class HttpServer:
    """Serves until ``close``. ``start`` returns the address."""

    def __init__(
        self,
        handler: Answerer | Handler,
        ssl_context: ssl.SSLContext | None = None,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.loop: asyncio.AbstractEventLoop
        self.memo = HeadMemo()
        self.parser = HeadParser(self.limits)
        self.compressed = Compressed()
        #: One for all connections: what is read is taken out before the loop goes on. Without it uvloop allocates
        #: 256 KiB for each read of a TLS connection, which the system maps, clears and takes back: 60 µs a request.
        #: Not one for all servers: their loops may run in threads, and a read lets other threads run.
        self.read_buffer = memoryview(bytearray(256 * 1024))
        #: the event loop's time, as of the last tick
        self.now = 0.0
        #: the Date header, as of the last tick
        self.date = b""
        #: no request after the present ones
        self.draining = False
        #: bytes of unfinished heads beyond what each connection may keep
        self.large_head_bytes = 0
        #: in the order in which they came
        self.connections: dict[HttpConnection, None] = {}
        #: those of them that have not had an answer yet, the oldest first
        self._unproven: OrderedDict[HttpConnection, None] = OrderedDict()
        #: all others, the least recently used first
        self._proven: OrderedDict[HttpConnection, None] = OrderedDict()
        self._answer_now: Callable[[Request], Response | None] = getattr(handler, "answer_now", _never_now)
        self._handle = cast(Handler, getattr(handler, "handle", handler))
        self._ssl = ssl_context
        self._clock = clock or SystemClock()
        #: listens where TLS is spoken, ``_listener`` where it is not
        self.handshakes: TlsListener | None = None
        self._listener: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pushed: deque[PushStream] = deque()
        self._emptied: asyncio.Future[None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> tuple[str, int]:
        self.loop = loop = asyncio.get_running_loop()
        self._tick()
        if self._ssl is not None:
            self.handshakes = TlsListener(self._ssl, self.limits, lambda: HttpConnection(self))
            await self.handshakes.start(host, port)
            sockets = self.handshakes.sockets
        else:
            self._listener = await loop.create_server(
                lambda: HttpConnection(self), host, port, backlog=self.limits.backlog
            )
            sockets = list(self._listener.sockets)
        for listening in sockets:
            _find_dead_peers(listening)
        bound: tuple[str, int] = sockets[0].getsockname()[:2]
        return bound

    def stop_listening(self) -> None:
        """First step of a shutdown: nobody new comes in; idle connections are closed."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        if self.handshakes is not None:
            self.handshakes.close()
        for connection in list(self.connections):
            if connection.is_between_requests():
                connection.close()

    async def close(self, timeout_seconds: float) -> None:
        """Lets requests in flight finish until the deadline, then cuts them off."""
        self.stop_listening()
        await self._wait_empty(timeout_seconds)
        for connection in list(self.connections):
            connection.cancel()
        await self._wait_empty(timeout_seconds)
        if self._timer is not None:
            self._timer.cancel()
        self.compressed.clear()
        if self._listener is not None:
            await self._listener.wait_closed()

    async def _wait_empty(self, timeout_seconds: float) -> None:
        if not self.connections:
            return
        self._emptied = self.loop.create_future()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._emptied
        except TimeoutError:
            pass
        finally:
            self._emptied = None

    # -- requests ------------------------------------------------------------------------------------------------

    def answer_now(self, request: Request) -> Response | None:
        try:
            return self._answer_now(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_path)
            return status_response(errors.InternalError("Internal error occurred: see the log of the API server"))

    async def handle(self, request: Request) -> Response:
        return await self._handle(request)

    # -- connections ---------------------------------------------------------------------------------------------

    def joined(self, connection: HttpConnection) -> None:
        """Takes a new connection in. When there are too many, one that has no request under way makes room."""
        if self.handshakes is not None:
            self.handshakes.established(connection)
        if len(self.connections) >= self.limits.connections:
            other = self._least_missed()
            if other is None:
                connection.abort()
            else:
                other.abort()
                self._forget(other)
        self.connections[connection] = None
        self._unproven[connection] = None
        if self.draining:
            connection.abort()

    def served(self, connection: HttpConnection) -> None:
        """A request of this connection is done, the first in this tick."""
        connection.used = self.now
        self._unproven.pop(connection, None)
        if connection in self.connections:
            self._proven[connection] = None
            self._proven.move_to_end(connection)

    def left(self, connection: HttpConnection) -> None:
        self._forget(connection)
        if not self.connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _forget(self, connection: HttpConnection) -> None:
        self.connections.pop(connection, None)
        self._unproven.pop(connection, None)
        self._proven.pop(connection, None)

    def _least_missed(self) -> HttpConnection | None:
        """The oldest that never asked anything to the end, else the one that has asked nothing for longest."""
        for some in (self._unproven, self._proven):
            for connection in some:
                if connection.is_between_requests():
                    return connection
        return None

    def flush_soon(self, stream: PushStream) -> None:
        if not self._pushed:
            self.loop.call_soon(self._flush)
        self._pushed.append(stream)

    def _flush(self) -> None:
        pushed = self._pushed
        try:
            for _ in range(min(len(pushed), self.limits.flushes_at_once)):
                pushed.popleft().flush()
        finally:  # whatever one of them does, the others are not forgotten
            if pushed:
                self.loop.call_soon(self._flush)

    def _tick(self) -> None:
        self.now = now = self.loop.time()
        self.date = date_line(self._clock.now())
        self._timer = self.loop.call_later(self.limits.tick_seconds, self._tick)
        unread = 0
        for connection in list(self.connections):
            connection.expire(now)
            if connection.stream is not None:
                unread += connection.stream.unread
        if unread > self.limits.all_unread_bytes:
            self._shed(unread)
        self.compressed.tick()

    def _shed(self, unread: int) -> None:
        """Cuts off the streams that have left most unread until all together are within the bound."""
        streams = [connection.stream for connection in self.connections if connection.stream is not None]
        for stream in sorted(streams, key=lambda stream: stream.unread, reverse=True):
            if unread <= self.limits.all_unread_bytes:
                return
            unread -= stream.unread
            stream.abort()


def _find_dead_peers(listening: socket.socket) -> None:
    """Peers that vanished without a word are noticed in some five minutes (accepted sockets inherit this)."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 180)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


__all__ = ["Answerer", "HttpServer"]
