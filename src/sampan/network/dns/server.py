"""The sockets of a node's DNS server: UDP and TCP on one address and port.

Each packet and each connection is handled by itself: whatever one does, no other notices. All is bounded: packets read
at one turn of the loop, questions that wait for an upstream, connections, bytes of a request, seconds of everything.
The service proxy sends the cluster DNS address here: port 53, and port 9153 too, by which pods read metrics over HTTP.
A connection's first bytes say which of the two it is: as the length of a question, HTTP's would be too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from sampan.api.clock import Random, SystemRandom
from sampan.api.faults import cause
from sampan.client import tasks
from sampan.network.dns import health, message
from sampan.network.dns.answering import Answerer
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.counts import Counts
from sampan.network.dns.forward import Upstream
from sampan.network.dns.health import Respond
from sampan.network.dns.known import Known
from sampan.network.dns.message import Request
from sampan.network.dns.resolve import Zone
from sampan.network.gate import Gate

log = logging.getLogger(__name__)

_BIND_RETRY_SECONDS = 1
#: Answers kept as packets; only such small ones, so that all together have a bound.
_MAX_PACKETS = 2048
_MAX_PACKET_BYTES = 512
#: Packets read before others have a turn.
_PACKETS_AT_ONCE = 32
_DATAGRAM_BYTES = message.MAX_REQUEST_BYTES + 1
_FAULT_LOG_SECONDS = 60
#: Packets that wait while the process is busy or restarts its work; the kernel gives what it allows.
_RECEIVE_BYTES = 1 << 20
_BACKLOG = 128
#: of "GET ": 18,245 bytes
_HTTP = b"GE"

Address = tuple[str, int]


class DnsServer:
    """``port`` is the bound one once ``run`` has set ``started``."""

    def __init__(
        self,
        known: Known,
        config: DnsConfig,
        *,
        upstream: Upstream | None = None,
        random: Random | None = None,
        respond: Respond | None = None,
    ) -> None:
        """``respond``: what is told by HTTP."""
        self.config = config
        self.port = config.port
        self.counts = Counts()
        chance: Random = random or SystemRandom()
        self.upstream = upstream or Upstream(config, chance)
        self._known, self._respond = known, respond
        zone = Zone(config.domain, config.dns_ip, config.cluster_pod_cidr)
        self._answerer = Answerer(known, zone, self.upstream, chance)
        self._gate = Gate(config.waiting, config.waiting_of_client)
        self._connections = _Connections(Gate(config.connections, config.connections_of_client))
        self._waiting: set[asyncio.Task[None]] = set()
        #: Replies by question, both without the id, and the question's type, as long as the cluster is of this version.
        self._packets: dict[bytes, tuple[bytes, str]] = {}
        self._packets_version = -1
        self._silent_until = 0.0

    async def run(self, ready: asyncio.Event | None = None, started: asyncio.Event | None = None) -> None:
        """Until cancelled. Questions that come before ``ready`` wait in the sockets: a false answer would be believed,
        and a refusal too."""
        with contextlib.ExitStack() as opened:
            pairs = [await self._bind(address, opened) for address in self.config.address.split(",")]
            if started is not None:
                started.set()
            if ready is not None:
                await ready.wait()
            await self._serve(pairs)

    async def _serve(self, pairs: Sequence[tuple[socket.socket, socket.socket]]) -> None:
        loop = asyncio.get_running_loop()
        servers = []
        try:
            for udp, tcp in pairs:
                servers.append(await asyncio.start_server(self._serve_tcp, sock=tcp, limit=message.MAX_REQUEST_BYTES))
                loop.add_reader(udp, self._read_packets, udp)
            await tasks.forever()
        finally:
            for udp, _ in pairs:
                loop.remove_reader(udp)
            for server in servers:
                server.close()
            self._connections.close()
            await tasks.cancel_and_wait(*self._waiting)
            await self.upstream.close()

    async def _bind(self, address: str, opened: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
        """The first address chooses the port, where none is given."""
        while True:
            try:
                udp, tcp = bind(address, self.port)
            except OSError as error:
                # A predecessor may still hold the port: its end is a matter of moments.
                log.warning("DNS cannot listen on %s:%d: %s", address, self.port, cause(error))
                await asyncio.sleep(_BIND_RETRY_SECONDS)
                continue
            self.port = tcp.getsockname()[1]
            opened.enter_context(udp)
            opened.enter_context(tcp)
            return udp, tcp

    # UDP

    def _read_packets(self, udp: socket.socket) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            try:
                packet, address = udp.recvfrom(_DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # what became of an earlier answer: its client closed the socket
            self.receive(packet, address, partial(_send, udp, address))

    def receive(self, packet: bytes, address: Address, send: Callable[[bytes], None]) -> None:
        """One UDP packet, whatever it is. ``send`` is called with the answer, now or later, or never. Never raises."""
        if self._known.aside:
            self.counts.ignored += 1  # no rule leads here any more: whoever asks is none of the cluster's clients
            return
        began = perf_counter()
        try:
            known = self._known_packet(packet)
            if known is not None:
                answer, kind = packet[:2] + known[0], known[1]
            else:
                request = message.read_request(packet)
                if request is None:
                    self.counts.ignored += 1
                    return
                kind = request.question.type
                made, lasting = self._answerer.answer_nowait(request, tcp=False, client=address[0])
                if made is None:
                    self._wait(request, address, send, began, len(packet))
                    return
                answer = made
                if lasting:
                    self._keep_packet(packet, answer, kind)
        except Exception:  # no packet ends the server: the fault is counted, and this question has no answer
            self._fault()
            return
        self.counts.answered("udp", address[0], kind, len(packet), answer, perf_counter() - began)
        send(answer)

    def _wait(self, request: Request, address: Address, send: Callable[[bytes], None], began: float, size: int) -> None:
        if not self._gate.enter(address[0]):
            self.counts.shed += 1
            send(message.write_error(request, message.SERVFAIL))
            return
        task = tasks.detach(self._answer_later(request, address, send, began, size), "dns question")
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _answer_later(
        self, request: Request, address: Address, send: Callable[[bytes], None], began: float, size: int
    ) -> None:
        try:
            answer = await self._answerer.answer(request, tcp=False, client=address[0])
            self.counts.answered("udp", address[0], request.question.type, size, answer, perf_counter() - began)
            send(answer)
        except Exception:  # no packet ends the server: the fault is counted, and this question has no answer
            self._fault()
        finally:
            self._gate.leave(address[0])

    def _known_packet(self, packet: bytes) -> tuple[bytes, str] | None:
        version = self._known.version
        if version != self._packets_version:
            self._packets_version = version
            self._packets.clear()
        return self._packets.get(packet[2:])

    def _keep_packet(self, packet: bytes, answer: bytes, kind: str) -> None:
        small = len(packet) <= _MAX_PACKET_BYTES and len(answer) <= _MAX_PACKET_BYTES
        if small and len(self._packets) < _MAX_PACKETS:
            self._packets[packet[2:]] = answer[2:], kind

    # TCP

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address: Address = writer.get_extra_info("peername") or ("", 0)
        if self._known.aside or not self._connections.enter(address[0], writer):
            self.counts.connections_refused += 1
            writer.transport.abort()
            return
        writer.transport.set_write_buffer_limits(high=0)
        try:
            while await self._serve_one(reader, writer, address):
                self._connections.silent(writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the client is gone, has nothing more to ask, or does not read
        except Exception:  # no packet ends the server: the fault is counted, and this question has no answer
            self._fault()
        finally:
            self._connections.leave(writer)
            # The kernel has taken all that was written (``drain``), or nobody takes it any more.
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address) -> bool:
        """False: the connection ends."""
        async with asyncio.timeout(self.config.tcp_seconds):
            first = await reader.readexactly(2)
            if first == _HTTP and self._respond is not None:
                head = first + await reader.readuntil(b"\r\n\r\n")
                writer.write(health.answer(head, self._respond))
                await writer.drain()
                return False
            size = int.from_bytes(first, "big")
            if size > message.MAX_REQUEST_BYTES:
                return False
            request = message.read_request(await reader.readexactly(size))
        if request is None:
            self.counts.ignored += 1
            return False
        began = perf_counter()
        self._connections.busy(writer)
        answer, _ = self._answerer.answer_nowait(request, tcp=True, client=address[0])
        if answer is None:
            answer = await self._answer_waiting(request, address)
        self.counts.answered("tcp", address[0], request.question.type, size, answer, perf_counter() - began)
        writer.write(len(answer).to_bytes(2, "big") + answer)
        async with asyncio.timeout(self.config.tcp_seconds):
            await writer.drain()
        # A client may send many questions at once, and neither reading nor writing waits then: others have a turn.
        await asyncio.sleep(0)
        return True

    async def _answer_waiting(self, request: Request, address: Address) -> bytes:
        if not self._gate.enter(address[0]):
            self.counts.shed += 1
            return message.write_error(request, message.SERVFAIL)
        try:
            return await self._answerer.answer(request, tcp=True, client=address[0])
        finally:
            self._gate.leave(address[0])

    def _fault(self) -> None:
        """A request met a fault of ours. Said now and then: who sends it may send it a thousand times a second."""
        self.counts.faults += 1
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            self._silent_until = now + _FAULT_LOG_SECONDS
            log.exception("a DNS request could not be answered (%d until now)", self.counts.faults)


class _Connections:
    """The open TCP connections. When there is no room, the one that was silent longest makes some."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._open: dict[asyncio.StreamWriter, str] = {}
        #: those whose request is not whole, the longest first
        self._silent: OrderedDict[asyncio.StreamWriter, None] = OrderedDict()

    def enter(self, client: str, writer: asyncio.StreamWriter) -> bool:
        if self._gate.full and self._silent and not self._gate.has_share(client):
            oldest = next(iter(self._silent))
            self.leave(oldest)
            oldest.transport.abort()
        if not self._gate.enter(client):
            return False
        self._open[writer] = client
        self.silent(writer)
        return True

    def silent(self, writer: asyncio.StreamWriter) -> None:
        if writer in self._open:
            self._silent[writer] = None

    def busy(self, writer: asyncio.StreamWriter) -> None:
        self._silent.pop(writer, None)

    def leave(self, writer: asyncio.StreamWriter) -> None:
        """Does nothing for one that has left."""
        client = self._open.pop(writer, None)
        if client is not None:
            self._gate.leave(client)
            self._silent.pop(writer, None)

    def close(self) -> None:
        for writer in self._open:
            writer.transport.abort()


def bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP sockets on one port, which a process may also inherit. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, port))
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        udp.bind((address, tcp.getsockname()[1]))
        tcp.listen(_BACKLOG)
    except OSError:
        tcp.close()
        udp.close()
        raise
    return udp, tcp


def _send(udp: socket.socket, address: Address, answer: bytes) -> None:
    try:
        udp.sendto(answer, address)
    except OSError:
        pass  # the client is gone, or asks faster than the network carries: it will ask again
