"""Questions about the rest of the world: the node's own name servers, with a small cache.

Follows /etc/resolv.conf as it changes. ``ask`` never raises but for cancellation: what cannot be answered is None,
which becomes SERVFAIL. Equal questions that come while one is under way wait for its answer. Time is the event loop's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections import OrderedDict
from collections.abc import Iterable

from sampan.api import resolvconf
from sampan.api.clock import Random
from sampan.api.faults import cause
from sampan.client import tasks
from sampan.network.dns import relay
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.names import Malformed
from sampan.network.dns.relay import Relayed
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: A server that did not answer is asked last for so long.
_SHUN_SECONDS = 10.0
_MAX_NEGATIVE_SECONDS = 5
#: As the C library has it.
_MAX_SERVERS = 3
#: What an upstream may send by UDP to a question without EDNS is 512 bytes; some send more.
_UDP_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and how long it has been kept."""

    answer: Relayed
    age_seconds: int = 0


def parse_resolv_conf(text: str, own: Iterable[str] = ()) -> tuple[str, ...]:
    """The name servers, without this cluster's own: asking ourselves would never end."""
    servers: list[str] = []
    for server in resolvconf.parse(text).servers:
        try:
            ipaddress.ip_address(server.split("%")[0])
        except ValueError:
            continue
        if server not in own:
            servers.append(server)
    return tuple(servers[:_MAX_SERVERS])


class Upstream:
    """Invariant: a cached answer is no older than its smallest TTL; the cache holds at most ``cache_bytes``."""

    def __init__(self, config: DnsConfig, random: Random, port: int = 53) -> None:
        self._config = config
        self._random = random
        self._port = port
        self._servers: tuple[str, ...] = ()
        self._servers_stamp: tuple[int, int] | None = None
        self._shunned: dict[str, float] = {}
        #: (begin, end, answer) by question
        self._cache: OrderedDict[bytes, tuple[float, float, Relayed]] = OrderedDict()
        self._cached_bytes = 0
        self._asking: dict[bytes, asyncio.Task[Relayed | None]] = {}
        self.asked = 0
        self.failed = 0
        self.from_cache = 0

    async def ask(self, asked: bytes) -> Found | None:
        """The answer to a question, given as its bytes, or None when there is none to be had."""
        key = relay.lower_name(asked)
        now = asyncio.get_running_loop().time()
        cached = self._cache.get(key)
        if cached is not None and cached[1] > now:
            self.from_cache += 1
            self._cache.move_to_end(key)
            return Found(cached[2], int(now - cached[0]))
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= self._config.waiting:
                return None
            task = self._asking[key] = tasks.detach(self._find(key), "dns upstream")
        # Who no longer waits must not take the answer from the others.
        answer = await asyncio.shield(task)
        return None if answer is None else Found(answer)

    async def close(self) -> None:
        await tasks.cancel_and_wait(*self._asking.values())

    def servers(self) -> tuple[str, ...]:
        path = self._config.resolv_conf
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._servers_stamp:
                own = (self._config.dns_ip,) if self._port == 53 else ()
                self._servers = parse_resolv_conf(path.read_text(errors="replace"), own)
                self._servers_stamp = stamp
        except OSError as error:
            if self._servers_stamp != (0, 0):
                log.warning("%s cannot be read, names outside the cluster are unknown: %s", path, cause(error))
            self._servers, self._servers_stamp = (), (0, 0)
        return self._servers

    async def _find(self, asked: bytes) -> Relayed | None:
        try:
            async with asyncio.timeout(self._config.upstream_total_seconds):
                answer = await self._ask_servers(asked)
        except TimeoutError:
            answer = None
        finally:
            del self._asking[asked]
        if answer is None:
            self.failed += 1
        else:
            self._remember(asked, answer)
        return answer

    async def _ask_servers(self, asked: bytes) -> Relayed | None:
        loop = asyncio.get_running_loop()
        refused: Relayed | None = None
        for server in sorted(self.servers(), key=lambda server: self._shunned.get(server, 0) > loop.time()):
            self.asked += 1
            try:
                async with asyncio.timeout(self._config.upstream_try_seconds):
                    answer = await self._ask_one(server, asked)
            except (OSError, TimeoutError, EOFError, Malformed) as error:
                log.debug("name server %s: %s", server, cause(error))
                self._shunned[server] = loop.time() + _SHUN_SECONDS
                continue
            self._shunned.pop(server, None)
            if answer.decided:
                return answer
            refused = answer
        return refused

    async def _ask_one(self, server: str, asked: bytes) -> Relayed:
        number = self._random.randrange(1 << 16)
        answer = await self._ask_udp(server, number, asked)
        return await self._ask_tcp(server, number, asked) if answer.cut else answer

    async def _ask_udp(self, server: str, number: int, asked: bytes) -> Relayed:
        """A socket a question: its port, which the kernel chooses, is what a forger would have to guess."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.connect((server, self._port))
            await loop.sock_sendall(client, relay.write_question(number, asked))
            while True:
                packet = await loop.sock_recv(client, _UDP_BYTES)
                if relay.is_answer(packet, number, asked):
                    return relay.read_answer(packet, asked)

    async def _ask_tcp(self, server: str, number: int, asked: bytes) -> Relayed:
        question = relay.write_question(number, asked)
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(len(question).to_bytes(2, "big") + question)
            size = int.from_bytes(await reader.readexactly(2), "big")
            packet = await reader.readexactly(size)
        finally:
            writer.close()
        if not relay.is_answer(packet, number, asked):
            raise Malformed("an answer to another question")
        return relay.read_answer(packet, asked)

    def _remember(self, key: bytes, answer: Relayed) -> None:
        if not answer.decided or answer.cut:
            return
        limit = self._config.cache_seconds
        seconds = answer.smallest_ttl(min(limit, _MAX_NEGATIVE_SECONDS) if answer.negative else limit)
        if seconds <= 0:
            return
        now = asyncio.get_running_loop().time()
        self._forget(key)
        self._cache[key] = (now, now + seconds, answer)
        self._cached_bytes += len(answer.packet)
        while len(self._cache) > self._config.cache_entries or self._cached_bytes > self._config.cache_bytes:
            self._forget(next(iter(self._cache)))

    def _forget(self, key: bytes) -> None:
        known = self._cache.pop(key, None)
        if known is not None:
            self._cached_bytes -= len(known[2].packet)
