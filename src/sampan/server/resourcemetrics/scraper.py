"""Looks at every node again and again, and keeps the last two looks: one task a node, so that none waits for another.

A node is asked every ten seconds, each at its own moment; sooner when something was seen for the first time, so that a
new pod's use is known some seconds after its start. Nodes that did not answer share a lane of their own from then on:
however many they are, the others are asked in time. Nodes of this process (simulated ones) are asked only when somebody
wants to know: they cost nothing else, however long a simulation goes on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import zlib
from collections.abc import Callable
from typing import Final

from sampan.api.clock import Clock
from sampan.api.nodes.endpoint import agent_address, agent_port
from sampan.api.nodes.usage import Looks
from sampan.api.resources import NODES
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader
from sampan.server.resourcemetrics.exposition import parse
from sampan.server.resourcemetrics.nodeclient import Address, NoAnswer, NodeClient
from sampan.server.threads import paced

log = logging.getLogger(__name__)

PATH: Final = "/metrics/resource"
ROUND_SECONDS: Final = 10.0
#: after a look that saw something new
SOON_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 5.0
#: What is older says nothing about the present (a node that is gone, or does not answer).
STALE_SECONDS: Final = 60.0
#: nodes that are asked at a time: those that answered the last time, and those that did not
_TOGETHER: Final = 64
_SILENT_TOGETHER: Final = 16
#: characters that take a millisecond or two to read
_LONG_TEXT: Final = 16 << 10

#: what a node of this process uses now; at once, and it may be called as often as somebody asks
Source = Callable[[], Looks]


class Scraper:
    """Keep ``run`` running. Invariant: while it runs, each node that listens has a task, and none that is gone has."""

    def __init__(
        self,
        reader: ObjectReader,
        tls: ssl.SSLContext | None,
        clock: Clock,
        wanted: Callable[[], bool],
        *,
        dials: bool = True,
        round_seconds: float = ROUND_SECONDS,
        soon_seconds: float = SOON_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """``wanted``: whether anybody could ask for what is found; ``dials`` False: only nodes of this process."""
        self._reader, self._tls, self._clock, self._wanted, self._dials = reader, tls, clock, wanted, dials
        self._round, self._soon, self._answer = round_seconds, soon_seconds, answer_seconds
        self._sources: dict[str, Source] = {}
        self._looks: dict[str, Looks] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answering = asyncio.Semaphore(_TOGETHER)
        self._silent = asyncio.Semaphore(_SILENT_TOGETHER)
        self.failures = 0

    def attach(self, node: str, source: Source) -> Callable[[], None]:
        """A node of this process is asked through ``source``; returns what ends that."""
        self._sources[node] = source

        def detach() -> None:
            if self._sources.get(node) is source:
                del self._sources[node]

        return detach

    # -- what is known -------------------------------------------------------------------------------------------

    def looks(self, node: str) -> Looks | None:
        """None: nothing is known of the node, or nothing that is still true."""
        if (source := self._sources.get(node)) is not None:
            return source()
        looks = self._looks.get(node)
        if looks is None or looks.last.node is None:
            return None
        return looks if self._clock.now().timestamp() - looks.last.node.time < STALE_SECONDS else None

    # -- looking -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        if not self._dials:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:

            def changed(kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
                name = obj["metadata"]["name"]
                if kind == "DELETED":
                    self._looks.pop(name, None)
                    if (task := self._tasks.pop(name, None)) is not None:
                        task.cancel()
                elif name not in self._tasks and name not in self._sources and agent_port(obj):
                    self._tasks[name] = group.create_task(self._follow(name), name=f"look at node {name}")

            end = self._reader.subscribe(NODES, changed)
            try:
                for obj in self._reader.list(NODES):
                    changed("ADDED", obj, None, 0)
                await asyncio.Event().wait()
            finally:
                end()
                self._tasks.clear()

    async def _follow(self, name: str) -> None:
        client = NodeClient(self._tls)
        # Each node has its own moment within a round: hundreds do not answer at once.
        wait, answered = self._soon * (zlib.crc32(name.encode()) / 2**32), True
        try:
            while True:
                await asyncio.sleep(wait)
                wait = self._round
                if not self._wanted():
                    self._looks.pop(name, None)
                    continue
                async with self._answering if answered else self._silent:
                    answered = await self._guarded(name, client)
                looks = self._looks.get(name)
                if answered and looks is not None and looks.incomplete:
                    wait = self._soon
        finally:
            client.close()

    async def _guarded(self, name: str, client: NodeClient) -> bool:
        """Whether the node answered. What goes wrong with it costs this node alone."""
        try:
            async with asyncio.timeout(self._answer):
                looks = await self._ask(name, client)
        except (NoAnswer, TimeoutError) as error:
            client.close()
            self.failures += 1
            log.info("node %s does not tell what it uses: %s", name, error or "it takes too long")
            return False
        except Exception:  # a fault of ours must not end the looking at all others
            client.close()
            self.failures += 1
            log.exception("node %s was not looked at", name)
            return False
        if looks is not None and name in self._tasks:
            self._looks[name] = looks
        return True

    async def _ask(self, name: str, client: NodeClient) -> Looks | None:
        """After another look; None: there is nobody to ask. Raises NoAnswer."""
        node = self._reader.get(NODES, None, name)
        if node is None or name in self._sources:
            return None
        address = Address(agent_address(node), agent_port(node))
        if not address.host or not address.port:
            return None
        _require_number(address.host)
        text = await client.get(address, PATH)
        before, now = self._looks.get(name, Looks()), self._clock.now().timestamp()
        return await paced(len(text) > _LONG_TEXT, _next, before, text, now)


def _require_number(host: str) -> None:
    """Whoever writes a node's status could write names that take their time, and all look-ups share a few threads.
    Raises NoAnswer."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise NoAnswer("its address is not a number") from None


def _next(before: Looks, text: str, now: float) -> Looks:
    return before.next(parse(text, now))
