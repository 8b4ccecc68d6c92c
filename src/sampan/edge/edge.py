"""The edge of one machine: sources fill the model, the data plane serves it. The loop between them.

Nothing costs before there is something to serve: the program is started with the first listener and ended with the
last. It goes on when this process ends; the next one takes it over. Many changes at once are one, and the program is
replaced now and then only (``pause_seconds``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from sampan.api.clock import Clock
from sampan.api.faults import cause, fault
from sampan.client import tasks
from sampan.edge import certificates
from sampan.edge.checking import Problem
from sampan.edge.config import EdgeConfig, settings
from sampan.edge.haproxy.dataplane import DataPlane
from sampan.edge.haproxy.program import Program, ProgramMissing
from sampan.edge.haproxy.render import Settings
from sampan.edge.merging import merge
from sampan.edge.model import Listener, Owner
from sampan.edge.source import Board, Served, Source
from sampan.keeping import Keeper

log = logging.getLogger(__name__)

#: Changes that come together are served together.
SETTLE_SECONDS = 0.05
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.3, 30.0
#: Programs that were replaced and still end what they had; with more of them, rules wait longer and longer.
_MANY_LEAVING = 4
MISSING_SECONDS = 10.0
#: A port of another program is looked at again, which costs the program that runs nothing.
TAKEN_SECONDS = 10.0
MISSING = "HAProxy is not installed on node {node}; apt-get install haproxy"


class Edge:
    """``ends_with``: whether the program is to end when this does, for the cluster stops."""

    def __init__(
        self, config: EdgeConfig, sources: Sequence[Source], clock: Clock, ends_with: Callable[[], bool] = lambda: False
    ) -> None:
        self._config = config
        self._sources = sources
        self._clock = clock
        self._ends_with = ends_with
        self._board = Board()
        self._listeners: dict[str, Sequence[Listener]] = {}
        self._program = Program(config.directory, config.run, config.log)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with Keeper() as keeper:
                for source in self._sources:
                    keeper.keep(source.name, partial(source.run, self._board))
                keeper.keep("serving", self._serve_forever)
                await tasks.forever()
        finally:
            if self._ends_with():
                await self._program.end()

    async def _serve_forever(self) -> None:
        async with asyncio.TaskGroup() as group:
            plane = DataPlane(self._program, await asyncio.to_thread(self._settings))
            group.create_task(plane.run(), name="edge data plane")
            self._board.changed()
            now = asyncio.get_running_loop().time
            due, not_before = False, 0.0
            while True:
                if not await self._news(not_before - now() if due else TAKEN_SECONDS if plane.lacks_ports else None):
                    due = True
                await asyncio.sleep(SETTLE_SECONDS)
                full, moves = self._board.take()
                if not all(self._board.has_said(source.name) for source in self._sources):
                    continue
                # Endpoints do not wait for their turn, whatever else does.
                moved = not moves or await plane.move(moves)
                due = due or full or not moved
                if not due or now() < not_before:
                    continue
                due = not await self._serve(plane)
                not_before = now() + (MISSING_SECONDS if due else pause_seconds(self._program.leaving))

    async def _news(self, seconds: float | None) -> bool:
        """Of the board; False: so much time went by without."""
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                await self._board.news()
        except TimeoutError:
            return False
        return True

    async def _serve(self, plane: DataPlane) -> bool:
        """False: there is no program, or no place for its files."""
        try:
            await self._serve_all(plane)
        except ProgramMissing:
            await self._tell(Served(missing=MISSING.format(node=self._config.node_name)))
            return False
        except OSError as error:  # a full disk: what runs goes on, and all is tried again
            log.error("the proxy's configuration: %s", fault(error, "write"))
            text = f"node {self._config.node_name} cannot write the proxy's configuration: {cause(error)}"
            await self._tell(Served(missing=text))
            return False
        return True

    async def _serve_all(self, plane: DataPlane) -> None:
        for source in self._sources:
            try:
                self._listeners[source.name] = await source.listeners()
            except Exception:  # our bug: what it gave before goes on
                log.exception("%s: no listeners", source.name)
        listeners = [listener for source in self._sources for listener in self._listeners.get(source.name, ())]
        merged, problems = await asyncio.to_thread(merge, listeners)
        problems += await plane.apply(merged)
        await self._tell(Served(_by_owner(problems)))

    async def _tell(self, served: Served) -> None:
        for source in self._sources:
            try:
                await source.served(served)
            except Exception:  # our bug: the other sources are told all the same
                log.exception("%s: what is served cannot be told", source.name)

    def _settings(self) -> Settings:
        certificate = certificates.self_signed(self._clock.now().year)
        return settings(self._config, self._program.files, certificate)


def pause_seconds(leaving: int) -> float:
    """Before the program may be replaced again: an open connection keeps a replaced one for minutes, and somebody who
    goes on changing an Ingress must not fill the machine with them."""
    return min(PAUSE_SECONDS * 2.0 ** max(0, leaving - _MANY_LEAVING), LONGEST_PAUSE_SECONDS)


def _by_owner(problems: Sequence[Problem]) -> dict[Owner, list[str]]:
    found: dict[Owner, list[str]] = {}
    for problem in problems:
        found.setdefault(problem.owner, []).append(problem.text)
    return found
