"""The DNS process of a node, kept running by the supervisor (``sampan.cluster.dns_process`` is its beginning).

Apart from node agent and API server, so that names are answered while those are started again; small, for there is one
on every node: the standard library and orjson. It follows the API server, keeps what it knows in a file, and begins
with that file when the API server is away.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from sampan import resident
from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.reading import text_map
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.keeping import Keeper
from sampan.keeping.metrics import render_components
from sampan.network.dns import metrics
from sampan.network.dns.api import ApiTransport, Credentials
from sampan.network.dns.config import ProcessConfig
from sampan.network.dns.follow import Follower, kinds, options_kind, pods_kind
from sampan.network.dns.health import HealthSocket
from sampan.network.dns.known import Known
from sampan.network.dns.options import CONFIG_MAP, CORE_FILE, CORE_MAP, parse_options
from sampan.network.dns.server import DnsServer
from sampan.network.dns.snapshot import Snapshot
from sampan.network.dns.telling import tell_faults

log = logging.getLogger(__name__)

#: For the API server to tell what is true, before what was true is answered. Clients wait for 5 seconds.
_PATIENCE_SECONDS = 2.0
#: After the start, by when what was needed for it is garbage.
_SETTLE_SECONDS = 4.0
#: Between two looks whether the API server listens.
_LOOK_SECONDS = 0.05
_DESCRIPTORS = 4096


#: Further parts, by name, of whoever composes the process; given the keeper of all parts.
Extra = Callable[[Keeper], Mapping[str, Callable[[], Awaitable[None]]]]


def _nothing(keeper: Keeper) -> Mapping[str, Callable[[], Awaitable[None]]]:
    return {}


class DnsProgram:
    """The parts of the process, each kept running by itself."""

    def __init__(self, config: ProcessConfig, extra: Extra = _nothing) -> None:
        self._known = Known()
        self._ready = asyncio.Event()
        credentials = Credentials(config.ca, config.certificate, config.key)
        self._api = ApiTransport(config.server, credentials, user_agent="sampan-dns")
        self._client, self._random, self._node_name = Client(self._api), SystemRandom(), config.dns.node_name
        client, random = self._client, self._random
        self._followers = {kind.resource.plural: Follower(client, kind, random) for kind in kinds(self._known)}
        #: ConfigMaps of options, by name
        self._maps: dict[str, Obj] = {}
        self._heard: set[str] = set()
        self._options = {
            name: Follower(client, options_kind(partial(self._hear, name), name), random)
            for name in (CONFIG_MAP, CORE_MAP)
        }
        self._domain = config.dns.domain
        self._faults: tuple[str, ...] = ()
        self.server = DnsServer(self._known, config.dns, random=random, respond=self._respond)
        self._snapshot = Snapshot(config.snapshot, self._known)
        self._health = HealthSocket(config.health_socket, self._respond)
        self._keeper = Keeper()
        self._extra = extra

    async def run(self) -> None:
        """Until cancelled."""
        async with self._keeper as keeper:
            for name, part in self._extra(keeper).items():
                keeper.keep(name, part)
            keeper.keep("server", lambda: self.server.run(self._ready))
            keeper.keep("health", self._health.run)
            keeper.keep("following", self._follow, ends=True)
            keeper.keep("knowing", self._know, ends=True)
            keeper.keep("snapshot", self._keep_snapshot)
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, settle)
            resident.stay_small(asyncio.get_running_loop().call_later)
            await tasks.forever()

    async def _follow(self) -> None:
        # After a start of the machine we are there before the API server is, by a second or two.
        while not await self._api.listening():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(_LOOK_SECONDS)
        for name, follower in self._followers.items():
            self._keeper.keep(name, follower.run)
        for name, options in self._options.items():
            self._keeper.keep(f"options {name}", options.run)

    def _hear(self, name: str, config_map: Obj | None) -> None:
        """Of one of the ConfigMaps: both together are the options."""
        self._maps.pop(name, None)
        if config_map is not None:
            self._maps[name] = config_map
        self._heard.add(name)
        if CONFIG_MAP not in self._heard:
            return  # what it says may be what others went by until now
        data = dict(text_map(self._maps.get(CONFIG_MAP, {}), "data"))
        core = text_map(self._maps.get(CORE_MAP, {}), "data")
        if CORE_FILE in core:
            data.setdefault(CORE_FILE, core[CORE_FILE])
        self._use(data)

    def _use(self, data: dict[str, str]) -> None:
        self._known.options = data
        self._known.version += 1
        options, faults = parse_options({"data": data}, self._domain)
        before = self.server.upstream.options
        self.server.upstream.use(options)
        if options.autopath != before.autopath:
            self._follow_pods(options.autopath)
        if faults and faults != self._faults and self._maps and not self._known.aside:
            self._keeper.end("telling")
            self._keeper.keep("telling", partial(self._tell, faults), ends=True)
        self._faults = faults

    async def _tell(self, faults: tuple[str, ...]) -> None:
        """Each of the ConfigMap that it is of."""
        for name, config_map in list(self._maps.items()):
            mine = [each for each in faults if each.startswith(CORE_FILE) == (name == CORE_MAP)]
            await tell_faults(self._client, SystemClock(), config_map, mine)

    def _follow_pods(self, wanted: bool) -> None:
        """Who asks matters only to those whose search path is followed."""
        if wanted:
            follower = Follower(self._client, pods_kind(self._known, self._node_name), self._random)
            self._keeper.keep("pods", follower.run)
        else:
            self._keeper.end("pods")
            self._known.pods.clear()

    async def _know(self) -> None:
        """Lets names be answered once they are known: as the API server has them or, if it is away, had them."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._synced()
        except TimeoutError:
            # Whatever was listed meanwhile is newer than the file and stays.
            listed = [name for name, follower in self._followers.items() if follower.synced.is_set()]
            if self._snapshot.load(listed):
                self._use(self._known.options)
                log.warning("the API server does not answer: names are answered as they were")
            else:
                log.info("the API server does not answer yet, and no names are known")
                await self._synced()
        self._ready.set()

    async def _keep_snapshot(self) -> None:
        await self._ready.wait()
        await self._snapshot.run()

    async def _synced(self) -> None:
        for follower in self._followers.values():
            await follower.synced.wait()

    def _respond(self, path: str) -> tuple[int, str]:
        match path:
            case "/healthz" | "/livez":
                return 200, "ok"
            case "/health":  # these two as CoreDNS has them
                return 200, "OK"
            case "/ready":
                return (200, "OK") if self._ready.is_set() else (503, "no names are known yet")
            case "/readyz":
                return (200, "ok") if self._ready.is_set() else (503, "no names are known yet")
            case "/metrics":
                return 200, self._metrics()
        return 404, "not found"

    def _metrics(self) -> str:
        known, now = self._known, asyncio.get_running_loop().time()
        sizes = {
            "namespaces": len(known.namespaces),
            "services": len(known.services),
            "endpointslices": len(known.slices),
        }
        heard = [follower.heard_at for follower in self._followers.values()]
        silent = max(now - at for at in heard if at is not None) if None not in heard else -1.0
        return metrics.render(self.server, sizes, silent) + render_components(self._keeper)


async def serve(config: ProcessConfig, extra: Extra = _nothing) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(DnsProgram(config, extra).run(), name="dns")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
    await tasks.cancel_and_wait(stopping)
    if work.done():
        work.result()
    await tasks.cancel_and_wait(work)


def settle() -> None:
    """What was made until now stays: the collector need not walk it again. Code that only the start ran, and what the
    start left free, need not."""
    gc.collect()
    gc.freeze()
    resident.trim()
    resident.forget_code()


def _allow_descriptors() -> None:
    """A socket for every question that waits and every connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(config: ProcessConfig, extra: Extra = _nothing) -> None:
    """Blocks until told to stop."""
    _allow_descriptors()
    gc.set_threshold(10_000, 20, 50)
    asyncio.run(serve(config, extra))
