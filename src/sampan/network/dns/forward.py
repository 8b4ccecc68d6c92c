"""Questions about the rest of the world: stub domains, and the cluster's or the node's own name servers.

``options`` say whom to ask; without any it is /etc/resolv.conf, followed as it changes. ``ask`` never raises but for
cancellation: what cannot be answered is None, which becomes SERVFAIL. Equal questions that come while one is under way
wait for its answer. A server that does not answer is asked last until it answers a probe; one that sends our own
question back to us is not asked at all. Time is the event loop's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Coroutine, Iterable, Sequence
from time import perf_counter
from typing import Any

from sampan.api import resolvconf
from sampan.api.clock import Random
from sampan.api.faults import cause
from sampan.client import tasks
from sampan.network.dns import relay
from sampan.network.dns.asking import ask_one, number_of
from sampan.network.dns.cache import Cache, Found
from sampan.network.dns.config import DnsConfig
from sampan.network.dns.counts import Exchanges
from sampan.network.dns.names import Malformed
from sampan.network.dns.options import NameServer, Options
from sampan.network.dns.relay import Relayed

log = logging.getLogger(__name__)

#: How long a server that did not answer is asked last, unless it answers a probe before.
_SHUN_SECONDS = 10.0
_PROBE_SECONDS = 0.5
#: As the C library has it.
_MAX_SERVERS = 3
_FAULTS = (OSError, TimeoutError, EOFError, Malformed)
#: The name servers of the root: what CoreDNS asks to see whether a server answers.
_ROOT = b"\0\0\2\0\1"
_LOOP_DOMAIN = b"\x10sampan-dns-loops\x07invalid\0"
_HINFO_IN = b"\0\x0d\0\1"


def _key(asked: bytes, dnssec: bool) -> bytes:
    return relay.lower_name(asked) + (b"\1" if dnssec else b"\0")


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
    """``port``: of the name servers of resolv.conf."""

    def __init__(self, config: DnsConfig, random: Random, port: int = 53) -> None:
        self._config = config
        self._random = random
        self._port = port
        self._options = Options(cache_seconds=config.cache_seconds)
        self._servers: tuple[NameServer, ...] = ()
        self._servers_stamp: tuple[int, int] | None = None
        self._searches: tuple[str, ...] = ()
        self._turn = 0
        self._shunned: dict[NameServer, float] = {}
        #: servers that were asked whether they lead back here, and those that do
        self._probed: set[NameServer] = set()
        self._loop_names: dict[bytes, NameServer] = {}
        self.looping: set[NameServer] = set()
        self.cache = Cache(config.cache_entries, config.cache_bytes)
        #: by options and question: who asks after a change does not wait for what others said
        self._asking: dict[tuple[int, bytes], asyncio.Task[Relayed | None]] = {}
        self._generation = 0
        self._probing: dict[object, asyncio.Task[None]] = {}
        self.asked = 0
        self.failed = 0
        #: by name server and code of the answer, of the options' servers
        self.exchanges: dict[tuple[NameServer, int], Exchanges] = {}
        self.probes_failed: dict[NameServer, int] = {}
        #: questions that came while no server answered probes
        self.broken = 0

    @property
    def options(self) -> Options:
        return self._options

    def use(self, options: Options) -> None:
        """From now on. What was answered by others than these may not be true any more."""
        if options != self._options:
            self._options = options
            self._generation += 1
            self.cache.clear()
            self._probed.clear()
            self.looping.clear()
            self.exchanges.clear()
            self.probes_failed.clear()

    def kept(self, asked: bytes, *, dnssec: bool = False) -> Found | None:
        """What is known without asking anybody."""
        key, now = _key(asked, dnssec), asyncio.get_running_loop().time()
        return self.cache.get(key, now) if self.cache.has(key, now) else None

    async def ask(self, asked: bytes, *, name: str = "", dnssec: bool = False) -> Found | None:
        """The answer to a question, given as its bytes, or None when there is none to be had. ``name``: of the
        question, as text in lower case. ``dnssec``: with signatures."""
        key = _key(asked, dnssec)
        now = asyncio.get_running_loop().time()
        if (back := self._loop_names.get(key[:-5])) is not None:
            self._found_loop(back)
            return None
        if (found := self.cache.get(key, now)) is not None:
            return found
        task = self._asking.get((self._generation, key))
        if task is None:
            if len(self._asking) >= self._config.waiting:
                return None
            task = self._asking[self._generation, key] = tasks.detach(
                self._find(key, name, self._generation), "dns upstream"
            )
        # Who no longer waits must not take the answer from the others.
        answer = await asyncio.shield(task)
        if answer is not None:
            return Found(answer)
        stale = self._options.stale_seconds
        return self.cache.get_stale(key, asyncio.get_running_loop().time(), stale) if stale else None

    async def close(self) -> None:
        await tasks.cancel_and_wait(*self._asking.values(), *self._probing.values())

    # Whom to ask

    @property
    def searches(self) -> tuple[str, ...]:
        """What the node itself searches."""
        self.servers()
        return self._searches

    def servers(self) -> tuple[NameServer, ...]:
        """Those for what is in no stub domain, in the order of the configuration."""
        path = self._config.resolv_conf
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._servers_stamp:
                own = self._config.dns_ip.split(",") if self._port == 53 else ()
                text = path.read_text(errors="replace")
                self._servers = tuple(NameServer(each, self._port) for each in parse_resolv_conf(text, own))
                self._searches = resolvconf.parse(text).searches
                if self._servers_stamp is not None:
                    self._probed.clear()
                    self.looping.clear()
                self._servers_stamp = stamp
        except OSError as error:
            if self._servers_stamp != (0, 0):
                log.warning("%s cannot be read, names outside the cluster are unknown: %s", path, cause(error))
            self._servers, self._servers_stamp, self._searches = (), (0, 0), ()
        return self._options.upstreams or self._servers

    def _order(self, name: str) -> Sequence[NameServer]:
        """By the policy; those that did not answer of late come last, and those that lead back here are left out."""
        servers = [each for each in self._options.servers_for(name) or self.servers() if each not in self.looping]
        if len(servers) > 1 and self._options.policy != "sequential":
            self._turn += 1
            random = self._options.policy == "random"
            first = self._random.randrange(len(servers)) if random else self._turn % len(servers)
            servers = servers[first:] + servers[:first]
        now = asyncio.get_running_loop().time()
        found = sorted(servers, key=lambda server: self._shunned.get(server, 0) > now)
        if found and self._shunned.get(found[0], 0) > now:
            self.broken += 1
        return found

    # Asking

    async def _find(self, key: bytes, name: str, generation: int) -> Relayed | None:
        try:
            async with asyncio.timeout(self._config.upstream_total_seconds):
                answer = await self._ask_servers(key[:-1], name, dnssec=bool(key[-1]))
        except TimeoutError:
            answer = None
        finally:
            del self._asking[generation, key]
        if answer is None:
            self.failed += 1
            return None
        if generation == self._generation:  # otherwise it comes from servers that are not asked any more
            options = self._options
            self.cache.put(
                key, answer, asyncio.get_running_loop().time(),
                positive_seconds=options.cache_seconds, negative_seconds=options.negative_seconds,
            )  # fmt: skip
        return answer

    async def _ask_servers(self, asked: bytes, name: str, *, dnssec: bool) -> Relayed | None:
        refused: Relayed | None = None
        for server in self._order(name):
            self._look_for_loop(server)
            self.asked += 1
            began = perf_counter()
            try:
                async with asyncio.timeout(self._config.upstream_try_seconds):
                    answer = await ask_one(server, number_of(self._random), asked, dnssec=dnssec)
            except _FAULTS as error:
                log.debug("name server %s: %s", server, cause(error))
                self._shun(server)
                continue
            self._shunned.pop(server, None)
            self.exchanges.setdefault((server, answer.rcode), Exchanges()).add(perf_counter() - began)
            if answer.decided:
                return answer
            refused = answer
        return refused

    # Health

    def _shun(self, server: NameServer) -> None:
        self._shunned[server] = asyncio.get_running_loop().time() + _SHUN_SECONDS
        if server not in self._probing:
            self._detach(server, self._probe(server))

    async def _probe(self, server: NameServer) -> None:
        """Until it answers, whatever it says, or is asked in its turn again."""
        loop = asyncio.get_running_loop()
        while self._shunned.get(server, 0) > loop.time():
            await asyncio.sleep(_PROBE_SECONDS)
            try:
                async with asyncio.timeout(self._config.upstream_try_seconds):
                    await ask_one(server, number_of(self._random), _ROOT)
            except _FAULTS:
                self.probes_failed[server] = self.probes_failed.get(server, 0) + 1
            else:
                self._shunned.pop(server, None)
                return

    # Loops

    def _look_for_loop(self, server: NameServer) -> None:
        """Asks a server, once, what nobody else asks. Should the question come to us, all we forward to it does."""
        if server in self._probed:
            return
        self._probed.add(server)
        label = b"%08x" % self._random.randrange(1 << 32)
        asked = bytes((len(label),)) + label + _LOOP_DOMAIN + _HINFO_IN
        self._loop_names[asked[:-4]] = server
        self._detach(asked, self._wait_for_loop(server, asked))

    async def _wait_for_loop(self, server: NameServer, asked: bytes) -> None:
        try:
            async with asyncio.timeout(self._config.upstream_total_seconds):
                await ask_one(server, number_of(self._random), asked)
        except _FAULTS:
            pass  # whether it answers is not what is asked
        finally:
            self._loop_names.pop(asked[:-4], None)

    def _found_loop(self, server: NameServer) -> None:
        if server not in self.looping:
            self.looping.add(server)
            log.warning("name server %s sends our questions back to us: it is not asked any more", server)

    def _detach(self, key: object, work: Coroutine[Any, Any, None]) -> None:
        task = self._probing[key] = tasks.detach(work, "dns probe")
        task.add_done_callback(lambda _: self._probing.pop(key, None))
