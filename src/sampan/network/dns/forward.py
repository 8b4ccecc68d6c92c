"""Questions about the rest of the world: the node's own name servers, with a small cache.

Follows /etc/resolv.conf as it changes. Never raises: what cannot be answered is None, which the server turns into
SERVFAIL. Time is the event loop's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from dnslib import QTYPE, RCODE, DNSError, DNSRecord

from sampan.api.clock import Random
from sampan.network.dns.config import DnsConfig

log = logging.getLogger(__name__)

#: A server that did not answer is asked last for so long.
_SHUN_SECONDS = 10.0
_MAX_NEGATIVE_SECONDS = 5


def parse_resolv_conf(text: str, own: Iterable[str] = ()) -> tuple[str, ...]:
    """The name servers, without this cluster's own: asking ourselves would never end."""
    servers: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2 or words[0] != "nameserver" or words[1] in own:
            continue
        try:
            ipaddress.ip_address(words[1].split("%")[0])
        except ValueError:
            continue
        servers.append(words[1])
    return tuple(servers)


class Upstream:
    """Invariant: a cached answer is no older than its smallest TTL."""

    def __init__(self, config: DnsConfig, random: Random, port: int = 53) -> None:
        self._config = config
        self._random = random
        self._port = port
        self._servers: tuple[str, ...] = ()
        self._servers_mtime = -1.0
        self._shunned: dict[str, float] = {}
        self._cache: OrderedDict[tuple[str, int], tuple[float, DNSRecord]] = OrderedDict()
        self._busy = 0

    async def ask(self, name: str, qtype: int) -> DNSRecord | None:
        """The upstream's answer to a question, or None when there is none to be had."""
        loop = asyncio.get_running_loop()
        key = (name.lower(), qtype)
        cached = self._cache.get(key)
        if cached is not None and cached[0] > loop.time():
            self._cache.move_to_end(key)
            return cached[1]
        if self._busy >= self._config.upstream_parallel:
            return None
        self._busy += 1
        try:
            async with asyncio.timeout(self._config.upstream_total_seconds):
                answer = await self._ask_servers(name, qtype)
        except TimeoutError:
            return None
        finally:
            self._busy -= 1
        if answer is not None:
            self._remember(key, answer)
        return answer

    def servers(self) -> tuple[str, ...]:
        path: Path = self._config.resolv_conf
        try:
            mtime = path.stat().st_mtime
            if mtime != self._servers_mtime:
                own = (self._config.dns_ip,) if self._port == 53 else ()
                self._servers = parse_resolv_conf(path.read_text(), own)
                self._servers_mtime = mtime
        except OSError as error:
            log.warning("%s cannot be read, names outside the cluster are unknown: %s", path, error.strerror)
            self._servers, self._servers_mtime = (), -1.0
        return self._servers

    async def _ask_servers(self, name: str, qtype: int) -> DNSRecord | None:
        loop = asyncio.get_running_loop()
        refused: DNSRecord | None = None
        for server in sorted(self.servers(), key=lambda server: self._shunned.get(server, 0) > loop.time()):
            try:
                async with asyncio.timeout(self._config.upstream_try_seconds):
                    answer = await self._ask_one(server, name, qtype)
            except (OSError, TimeoutError, DNSError, EOFError):
                self._shunned[server] = loop.time() + _SHUN_SECONDS
                continue
            self._shunned.pop(server, None)
            if answer.header.rcode in (RCODE.NOERROR, RCODE.NXDOMAIN):
                return answer
            refused = answer
        return refused

    async def _ask_one(self, server: str, name: str, qtype: int) -> DNSRecord:
        question = DNSRecord.question(name, QTYPE.get(qtype))
        question.header.id = self._random.randrange(1 << 16)
        packet = question.pack()
        answer = await self._ask_udp(server, packet, question)
        return await self._ask_tcp(server, packet) if answer.header.tc else answer

    async def _ask_udp(self, server: str, packet: bytes, question: DNSRecord) -> DNSRecord:
        loop = asyncio.get_running_loop()
        received: asyncio.Future[DNSRecord] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Client(question, received), remote_addr=(server, self._port)
        )
        try:
            transport.sendto(packet)
            return await received
        finally:
            transport.close()

    async def _ask_tcp(self, server: str, packet: bytes) -> DNSRecord:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(len(packet).to_bytes(2, "big") + packet)
            size = int.from_bytes(await reader.readexactly(2), "big")
            return DNSRecord.parse(await reader.readexactly(size))
        finally:
            writer.close()

    def _remember(self, key: tuple[str, int], answer: DNSRecord) -> None:
        negative = answer.header.rcode == RCODE.NXDOMAIN or not answer.rr
        if answer.header.rcode not in (RCODE.NOERROR, RCODE.NXDOMAIN):
            return
        limit = min(self._config.cache_seconds, _MAX_NEGATIVE_SECONDS) if negative else self._config.cache_seconds
        seconds = min([limit, *(record.ttl for record in [*answer.rr, *answer.auth])])
        if seconds <= 0:
            return
        self._cache[key] = (asyncio.get_running_loop().time() + seconds, answer)
        self._cache.move_to_end(key)
        while len(self._cache) > self._config.cache_entries:
            self._cache.popitem(last=False)


class _Client(asyncio.DatagramProtocol):
    """Waits for the answer to one question; strays and forgeries are ignored."""

    def __init__(self, question: DNSRecord, received: asyncio.Future[DNSRecord]) -> None:
        self._question = question
        self._received = received

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            answer = DNSRecord.parse(data)
        except DNSError:
            return
        same = answer.header.id == self._question.header.id and answer.q.qname == self._question.q.qname
        if same and answer.header.qr and not self._received.done():
            self._received.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        if not self._received.done():
            self._received.set_exception(exc)
