"""Accepts TLS connections and knows those that are not established yet: strangers who say nothing are bounded too.

Event loops tell of a TLS connection only when its handshake is complete, and each holds a descriptor before that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable

from sampan.server.http.limits import Limits

_ACCEPTS_AT_ONCE = 32
_PAUSE_SECONDS = 0.1


class TlsListener:
    """Listens until ``close``. When too many handshakes are under way, the one that has taken longest is cut off.

    Invariant: ``_pending`` has every accepted connection whose protocol has not got its transport, the oldest first.
    """

    def __init__(self, context: ssl.SSLContext, limits: Limits, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self.sockets: list[socket.socket] = []
        self._context, self._limits, self._make = context, limits, make
        self._loop = asyncio.get_running_loop()
        self._pending: OrderedDict[asyncio.BaseProtocol, asyncio.Task[None]] = OrderedDict()
        #: a task that is cut off before its first step never runs
        self._accepts_at_once = min(_ACCEPTS_AT_ONCE, limits.handshakes)
        self._resumption: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pending)

    async def start(self, host: str, port: int) -> None:
        """Raises OSError."""
        found = await self._loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                listening = socket.socket(family, socket.SOCK_STREAM)
                self.sockets.append(listening)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.setblocking(False)
                listening.bind(address)
                listening.listen(self._limits.backlog)
        except OSError:
            self.close()
            raise
        self._resume()

    def close(self) -> None:
        """Nobody new comes in; unfinished handshakes end."""
        if self._resumption is not None:
            self._resumption.cancel()
        for listening in self.sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self.sockets.clear()
        while self._pending:
            self._cut_oldest()

    def established(self, protocol: asyncio.BaseProtocol) -> None:
        self._pending.pop(protocol, None)

    def _resume(self) -> None:
        self._resumption = None
        for listening in self.sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(self._accepts_at_once):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left: one is given back, and the others wait in the backlog
                self._cut_oldest()
                self._pause()
                return
            accepted.setblocking(False)
            if len(self._pending) >= self._limits.handshakes:
                self._cut_oldest()
            protocol = self._make()
            task = self._loop.create_task(self._shake_hands(protocol, accepted), name="TLS handshake")
            self._pending[protocol] = task

    def _pause(self) -> None:
        for listening in self.sockets:
            self._loop.remove_reader(listening)
        if self._resumption is None:
            self._resumption = self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _cut_oldest(self) -> None:
        if self._pending:
            _, task = self._pending.popitem(last=False)
            task.cancel()

    async def _shake_hands(self, protocol: asyncio.BaseProtocol, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=self._limits.linger_seconds,
            )
        except OSError:  # also ssl.SSLError and TimeoutError: whose handshake fails is nobody's concern
            pass
        finally:
            self._pending.pop(protocol, None)


__all__ = ["TlsListener"]
