"""The DNS server of a node: UDP and TCP on one address and port.

Composed by ``sampan.cluster`` into the node process. The service proxy sends the cluster DNS address here. Answers
about the cluster need no I/O and leave at once; questions about the rest wait for an upstream in a task of their own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from dnslib import RCODE, DNSError, DNSRecord

from sampan.api.clock import Random, SystemRandom
from sampan.client import tasks
from sampan.client.informer import InformerFactory
from sampan.network.dns import message
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.forward import Upstream
from sampan.network.dns.records import InformerRecords, Records
from sampan.network.dns.resolve import Answer, Question, Record, Zone, is_ours, resolve, soa

log = logging.getLogger(__name__)

_TCP_IDLE_SECONDS = 10
_BIND_RETRY_SECONDS = 1
_MAX_PACKETS = 4096


class DnsServer:
    """``port`` is the bound one once ``run`` has set ``started``."""

    def __init__(
        self,
        informers: InformerFactory,
        config: DnsConfig,
        *,
        upstream: Upstream | None = None,
        random: Random | None = None,
    ) -> None:
        self.config = config
        self.port = config.port
        self._random: Random = random or SystemRandom()
        self._upstream = upstream or Upstream(config, self._random)
        self._source = InformerRecords(informers)
        self._records: Records = self._source
        self._zone = Zone(config.domain, config.dns_ip, config.cluster_pod_cidr)
        self._group: asyncio.TaskGroup | None = None
        #: Replies by question, both without the id, as long as the cluster is of this version: parsing and packing
        #: cost more than all the rest.
        self._packets: dict[bytes, bytes] = {}
        self._packets_version: tuple[int, ...] = ()

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Until cancelled. Answers nothing before the cluster is known: a false NXDOMAIN would be believed."""
        for informer in self._source.informers:
            await informer.synced()
        async with asyncio.TaskGroup() as group:
            self._group = group
            server, transport = await self._open()
            try:
                if started is not None:
                    started.set()
                await tasks.forever()
            finally:
                self._group = None
                transport.close()
                server.close()

    async def _open(self) -> tuple[asyncio.Server, asyncio.DatagramTransport]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                server = await asyncio.start_server(self._serve_tcp, self.config.address, self.config.port)
                port: int = server.sockets[0].getsockname()[1]
                try:
                    transport, _ = await loop.create_datagram_endpoint(
                        lambda: _Udp(self), local_addr=(self.config.address, port)
                    )
                except BaseException:
                    server.close()
                    raise
            except OSError as error:
                # A predecessor may still hold the port: its end is a matter of moments.
                log.warning("DNS cannot listen on %s:%d: %s", self.config.address, self.config.port, error.strerror)
                await asyncio.sleep(_BIND_RETRY_SECONDS)
                continue
            self.port = port
            return server, transport

    # Serving

    def receive(self, packet: bytes, transport: asyncio.DatagramTransport, address: tuple[str, int]) -> None:
        """One UDP packet."""
        known = self._known_packet(packet)
        if known is not None:
            transport.sendto(packet[:2] + known, address)
            return
        request = _parse(packet)
        if request is None:
            return
        reply = self._answer_nowait(request)
        if reply is not None:
            answer = message.pack(request, reply, tcp=False)
            # Several records change their order from answer to answer.
            if len(reply.rr) < 2 and len(self._packets) < _MAX_PACKETS:
                self._packets[packet[2:]] = answer[2:]
            transport.sendto(answer, address)
        elif self._group is not None:
            tasks.spawn(self._group, self._answer_later(request, transport, address), "dns question")

    def _known_packet(self, packet: bytes) -> bytes | None:
        version = self._source.version
        if version != self._packets_version:
            self._packets_version = version
            self._packets.clear()
        return self._packets.get(packet[2:])

    async def _answer_later(
        self, request: DNSRecord, transport: asyncio.DatagramTransport, address: tuple[str, int]
    ) -> None:
        reply = await self._answer_upstream(request)
        if not transport.is_closing():
            transport.sendto(message.pack(request, reply, tcp=False), address)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    request = _parse(await reader.readexactly(size))
                if request is None:
                    return
                reply = self._answer_nowait(request) or await self._answer_upstream(request)
                packet = message.pack(request, reply, tcp=True)
                writer.write(len(packet).to_bytes(2, "big") + packet)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            return  # the client is gone or has nothing more to ask
        finally:
            writer.close()

    # Answering

    def _answer_nowait(self, request: DNSRecord) -> DNSRecord | None:
        """The reply when the cluster or the protocol decides it; None when an upstream is needed."""
        refused = message.refusal_code(request)
        if refused != RCODE.NOERROR:
            return message.reply_to(request, refused)
        question = message.question_of(request)
        if not is_ours(question, self._zone, self._records):
            return None
        answer = resolve(question, self._zone, self._records)
        return None if answer.chase else self._reply(request, answer)

    def _reply(self, request: DNSRecord, answer: Answer) -> DNSRecord:
        rcode = RCODE.NOERROR if answer.exists else RCODE.NXDOMAIN
        reply = message.reply_to(request, rcode, authoritative=True)
        # Clients take the first address: in another order each time, all endpoints get their share.
        message.add_records(reply, self._shuffled(answer.records), answer.additional)
        if not answer.records:
            message.add_soa(reply, soa(self._zone))
        return reply

    async def _answer_upstream(self, request: DNSRecord) -> DNSRecord:
        question = message.question_of(request)
        if is_ours(question, self._zone, self._records):
            return await self._answer_chased(request, question)
        found = await self._upstream.ask(str(request.q.qname), request.q.qtype)
        if found is None:
            return message.reply_to(request, RCODE.SERVFAIL)
        reply = message.reply_to(request, found.header.rcode)
        reply.add_answer(*found.rr)
        reply.add_auth(*found.auth)
        return reply

    async def _answer_chased(self, request: DNSRecord, question: Question) -> DNSRecord:
        """ExternalName: the CNAME, and the addresses that the rest of the world knows for its target."""
        answer = resolve(question, self._zone, self._records)
        reply = self._reply(request, answer)
        found = await self._upstream.ask(answer.chase, request.q.qtype) if answer.chase else None
        if found is not None:
            reply.add_answer(*found.rr)
        return reply

    def _shuffled(self, records: list[Record]) -> list[Record]:
        if len(records) < 2:
            return records
        # A CNAME stays in front of what it leads to.
        start = self._random.randrange(len(records)) if not _has_alias(records) else 0
        return records[start:] + records[:start]


def _has_alias(records: list[Record]) -> bool:
    return any(record.type == "CNAME" for record in records)


def _parse(packet: bytes) -> DNSRecord | None:
    """None for what is no question: answering it could make two servers talk to each other for ever."""
    try:
        request = DNSRecord.parse(packet)
    except DNSError:
        return None
    return None if request.header.qr else request


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loops' own transports are not all subclasses of what they implement.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.receive(data, self._transport, addr)

    def error_received(self, exc: Exception) -> None:
        # A client that closed its socket; the kernel reports it on the next send.
        log.debug("DNS client unreachable: %s", exc)
