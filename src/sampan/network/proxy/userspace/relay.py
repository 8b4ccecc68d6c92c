"""One port of a Service, carried by this process: TCP connections and UDP questions with their answers.

Bounded: so many connections and so many UDP clients of a port, each with so much in its buffers. A relay never raises
for what a client or an endpoint does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from sampan.api.faults import cause
from sampan.client import tasks
from sampan.network.gate import Gate
from sampan.network.proxy.model import Endpoint
from sampan.network.proxy.userspace.balancer import Balancer

log = logging.getLogger(__name__)

_CONNECTIONS = 1000
_CHUNK_BYTES = 64 * 1024
_CONNECT_SECONDS = 5.0
_UDP_CLIENTS = 1000
_UDP_IDLE_SECONDS = 60.0


class Sockets(Protocol):
    """Where sockets come from: a test's are in a network namespace."""

    def __call__(self, family: int, kind: int) -> socket.socket: ...


def plain(family: int, kind: int) -> socket.socket:
    return socket.socket(family, kind)


class Relay(Protocol):
    """``port`` is where it listens, from its making on; ``start`` answers, ``close`` ends what it carries."""

    balancer: Balancer
    port: int

    async def start(self) -> None: ...

    async def close(self) -> None: ...


def bound(sockets: Sockets, address: str, kind: int) -> socket.socket:
    """On any free port. Raises OSError."""
    made = sockets(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        made.setblocking(False)
        made.bind((address, 0))
    except OSError:
        made.close()
        raise
    return made


class TcpRelay:
    def __init__(self, address: str, sockets: Sockets) -> None:
        self.balancer = Balancer()
        self._sockets = sockets
        self._socket = bound(sockets, address, socket.SOCK_STREAM)
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._gate = Gate(_CONNECTIONS, _CONNECTIONS)
        self._carried: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=self._socket, limit=_CHUNK_BYTES)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()
        await tasks.cancel_and_wait(*self._carried)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = (writer.get_extra_info("peername") or ("",))[0]
        if not self._gate.enter(client):
            writer.transport.abort()
            return
        task = tasks.detach(self._relay(reader, writer, client), "relayed connection")
        self._carried.add(task)
        task.add_done_callback(lambda task: self._ended(task, client))

    def _ended(self, task: asyncio.Task[object], client: str) -> None:
        self._carried.discard(task)
        self._gate.leave(client)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        try:
            there = await self._connect(client)
            if there is None:
                writer.transport.abort()
                return
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_carry(reader, there[1]), name="relay to the endpoint")
                    group.create_task(_carry(there[0], writer), name="relay to the client")
            finally:
                there[1].close()
        finally:
            writer.close()

    async def _connect(self, client: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """To the first endpoint that answers."""
        loop = asyncio.get_running_loop()
        for endpoint in self.balancer.order(client, loop.time()):
            made = self._sockets(_family(endpoint), socket.SOCK_STREAM)
            made.setblocking(False)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await loop.sock_connect(made, (endpoint.ip, endpoint.port))
                opened = await asyncio.open_connection(sock=made, limit=_CHUNK_BYTES)
            except (OSError, TimeoutError) as error:
                made.close()
                log.debug("endpoint %s:%d does not answer: %s", endpoint.ip, endpoint.port, cause(error))
            except BaseException:
                made.close()
                raise
            else:
                self.balancer.chosen(client, endpoint, loop.time())
                return opened
        return None


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side has nothing more to say; the other is told so, and may go on."""
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError as error:
        log.debug("a relayed connection ended: %s", cause(error))
        writer.transport.abort()


class UdpRelay:
    def __init__(self, address: str, sockets: Sockets) -> None:
        self.balancer = Balancer()
        self._sockets = sockets
        self._socket = bound(sockets, address, socket.SOCK_DGRAM)
        self.port: int = self._socket.getsockname()[1]
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[tuple[str, int], _Client] = {}

    async def start(self) -> None:
        if self._transport is None:
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(lambda: _Door(self.heard), sock=self._socket)

    async def close(self) -> None:
        for client in list(self._clients.values()):
            client.close()
        if self._transport is not None:
            self._transport.close()
        self._socket.close()

    def heard(self, data: bytes, client: tuple[str, int]) -> None:
        known = self._clients.get(client)
        if known is not None and known.endpoint not in self.balancer.endpoints:
            known.close()
            known = None
        if known is None:
            known = self._new(client)
        if known is not None:
            known.send(data)

    def _new(self, client: tuple[str, int]) -> _Client | None:
        loop = asyncio.get_running_loop()
        if len(self._clients) >= _UDP_CLIENTS or not self.balancer.endpoints:
            return None
        endpoint = self.balancer.order(client[0], loop.time())[0]
        made = self._sockets(_family(endpoint), socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.connect((endpoint.ip, endpoint.port))
        except OSError as error:
            made.close()
            log.debug("endpoint %s:%d cannot be reached: %s", endpoint.ip, endpoint.port, cause(error))
            return None
        self.balancer.chosen(client[0], endpoint, loop.time())
        self._clients[client] = _Client(self, client, endpoint, made)
        return self._clients[client]

    def answer(self, data: bytes, client: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, client)

    def forget(self, client: tuple[str, int]) -> None:
        self._clients.pop(client, None)


class _Door(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._heard(data, addr)


class _Client:
    """The socket to one client's endpoint; closed when both were silent for a while."""

    def __init__(self, relay: UdpRelay, client: tuple[str, int], endpoint: Endpoint, opened: socket.socket) -> None:
        self.endpoint = endpoint
        self._relay = relay
        self._client = client
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened, self._answered)
        self._end = self._loop.call_later(_UDP_IDLE_SECONDS, self.close)

    def send(self, data: bytes) -> None:
        self._used()
        try:
            self._socket.send(data)
        except OSError as error:
            log.debug("endpoint %s does not take a datagram: %s", self.endpoint.ip, cause(error))

    def _answered(self) -> None:
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except OSError as error:
            log.debug("endpoint %s refuses datagrams: %s", self.endpoint.ip, cause(error))
            return
        self._used()
        self._relay.answer(data, self._client)

    def _used(self) -> None:
        self._end.cancel()
        self._end = self._loop.call_later(_UDP_IDLE_SECONDS, self.close)

    def close(self) -> None:
        self._end.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._relay.forget(self._client)


def _family(endpoint: Endpoint) -> int:
    return socket.AF_INET6 if ":" in endpoint.ip else socket.AF_INET
