"""The data plane: makes the running program do what a plane says, by the cheapest way that loses nothing.

Endpoints and renewed certificates are told to the running program; for all else it is replaced. What the program
refuses is taken out by object and told of (``Problem``), so that neither what runs nor a neighbour suffers from it.
One caller at a time; ``run`` keeps the program alive until cancelled.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import Mapping, Set
from typing import Protocol

from sampan.edge.checking import Problem, check
from sampan.edge.haproxy import ports, runtime, slots
from sampan.edge.haproxy.program import Refusal
from sampan.edge.haproxy.render import Rendered, Settings, render
from sampan.edge.haproxy.slots import Slots
from sampan.edge.model import Endpoint, Listener, Owner, Plane, VirtualHost

log = logging.getLogger(__name__)

#: Attempts with less and less of what was refused.
_ATTEMPTS = 8
_LOG_LOOK_SECONDS = 5.0
_RESTART_SECONDS = (0.0, 0.1, 0.5, 2.0, 10.0)
_STEADY_SECONDS = 30.0
_PORT_TAKEN = re.compile(r"cannot bind \w+.*\[[^\]\s]*:(\d+)\]")


class Runs(Protocol):
    """What the data plane asks of ``program.Program``."""

    @property
    def pid(self) -> int | None: ...
    async def start(self, rendered: Rendered) -> Refusal | None: ...
    async def answers(self) -> bool: ...
    async def ended(self) -> None: ...
    async def end(self) -> None: ...
    async def bound_log(self) -> None: ...
    async def tell(self, commands: list[str]) -> list[str]: ...
    async def replace_certificate(self, file: str, pem: str) -> str: ...


class DataPlane:
    """``replaced``, ``told``: how often the program was replaced, and told of changes while it ran."""

    def __init__(self, program: Runs, settings: Settings) -> None:
        self._program = program
        self._settings = settings
        self._lock = asyncio.Lock()
        self._current: Rendered | None = None
        self._by_backend: dict[str, list[str]] = {}
        self._started = asyncio.Event()
        self.replaced = self.told = 0
        #: of what was applied last, some is not served, for a port is another program's
        self.lacks_ports = False
        #: where the program listens
        self._ports: frozenset[int] = frozenset()

    async def apply(self, plane: Plane) -> list[Problem]:
        """Returns when the plane is served, with what of it is not. Raises ProgramMissing."""
        async with self._lock:
            self.lacks_ports = False
            if not plane.listeners:
                await self._end()
                return []
            plane, problems = await asyncio.to_thread(check, plane)
            own = self._ports
            if not own and await self._program.answers():  # what another keeper left
                own = frozenset(each.port for each in plane.listeners)
            taken = await asyncio.to_thread(ports.taken, plane.listeners, ipv6=self._settings.ipv6, own=own)
            plane, found = _without_ports(plane, taken)
            problems += found
            self.lacks_ports = bool(taken)
            if not plane.listeners:
                await self._end()
                return problems
            for _ in range(_ATTEMPTS):
                refusal, owners = await self._serve(plane)
                if refusal is None:
                    self._ports = frozenset(each.port for each in plane.listeners)
                    return problems
                plane, found = _without(plane, refusal, owners)
                self.lacks_ports = self.lacks_ports or bool(_PORT_TAKEN.search(refusal.text))
                problems += found
                if not found:
                    break
                if not plane.listeners:
                    await self._end()
                    return problems
            log.error("the program refuses a configuration: %s", refusal.text if refusal else "again and again")
            return problems

    async def move(self, changes: Mapping[str, tuple[Endpoint, ...]]) -> bool:
        """Other endpoints of back ends, by name; costs what changed. False: that needs the whole plane."""
        async with self._lock:
            current = self._current
            if current is None or self._program.pid is None:
                return False
            after: dict[str, Slots] = {}
            for name, endpoints in changes.items():
                for section in self._by_backend.get(name, ()):
                    before = current.slots.get(section)
                    if before is None:
                        return False
                    after[section] = slots.fill(endpoints, before)
                    if len(after[section]) != len(before):
                        return False
            commands = list(slots.commands(current.slots, after))
            if not await self._tell(commands):
                return False
            self._current = dataclasses.replace(current, slots={**current.slots, **after})
            return True

    async def run(self) -> None:
        """Starts the program again when it ends, and bounds its log; until cancelled. The program stays."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_alive(), name="edge program")
            group.create_task(self._bound_logs(), name="edge log")

    async def end(self) -> None:
        async with self._lock:
            await self._end()

    async def _end(self) -> None:
        self._started.clear()
        self._current = None
        self._by_backend = {}
        self._ports = frozenset()
        await self._program.end()

    async def _serve(self, plane: Plane) -> tuple[Refusal | None, list[Owner | None]]:
        current = self._current
        before = current.slots if current is not None else {}
        rendered = await asyncio.to_thread(render, plane, self._settings, before)
        alive = current is not None and self._program.pid is not None
        same = current is not None and alive and rendered.structure == current.structure
        if current is not None and same and await self._follow(current, rendered):
            self._keep(rendered)
            return None, []
        refusal = await self._program.start(rendered)
        if refusal is not None:
            return refusal, rendered.text()[1]
        self.replaced += 1
        self._keep(rendered)
        self._started.set()
        return None, []

    def _keep(self, rendered: Rendered) -> None:
        self._current = rendered
        self._by_backend = {}
        for name, section in rendered.sections.items():
            if section.backend is not None:
                self._by_backend.setdefault(section.backend.name, []).append(name)

    async def _follow(self, before: Rendered, after: Rendered) -> bool:
        """Tells the running program what changed. False: it did not take it."""
        for file, pem in after.certificates.items():
            if before.certificates[file] != pem:
                try:
                    said = await self._program.replace_certificate(f"{self._settings.files}/{file}", pem)
                except runtime.ProgramGone:
                    return False
                if said:
                    log.warning("a certificate is not taken while the program runs: %s", said)
                    return False
                self.told += 1
        return await self._tell(list(slots.commands(before.slots, after.slots)))

    async def _tell(self, commands: list[str]) -> bool:
        if not commands:
            return True
        try:
            answers = await self._program.tell(commands)
        except runtime.ProgramGone:
            return False
        self.told += 1
        if answers:
            log.warning("the program was told and says: %s", "; ".join(answers)[:500])
        return not answers

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        quick = 0
        while True:
            await self._started.wait()
            began = loop.time()
            pid = self._program.pid
            await self._program.ended()
            async with self._lock:
                current = self._current
                if current is None or self._program.pid is not None:
                    continue  # it was ended, or replaced
                quick = 0 if loop.time() - began > _STEADY_SECONDS else quick + 1
                log.warning("the proxy program %s ended and is started again", pid)
                await asyncio.sleep(_RESTART_SECONDS[min(quick, len(_RESTART_SECONDS)) - 1] if quick else 0)
                refusal = await self._program.start(current)
                if refusal is not None:
                    log.error("the proxy program does not start again: %s", refusal.text)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOG_LOOK_SECONDS)
            await self._program.bound_log()


def _without(plane: Plane, refusal: Refusal, owners: list[Owner | None]) -> tuple[Plane, list[Problem]]:
    """The plane without what was refused, and what to tell of it. Pure."""
    ports = {int(found) for found in _PORT_TAKEN.findall(refusal.text)}
    if ports:
        return _without_ports(plane, {(each.address, each.port) for each in plane.listeners if each.port in ports})
    refused: dict[Owner, str] = {}
    for number, text in refusal.lines:
        owner = owners[number - 1] if 0 < number <= len(owners) else None
        if owner is not None:
            refused.setdefault(owner, text)
    listeners = tuple(_without_owners(listener, refused) for listener in plane.listeners)
    return Plane(listeners), [Problem(owner, f"the proxy refuses it: {text}") for owner, text in refused.items()]


def _without_ports(plane: Plane, taken: Set[tuple[str, int]]) -> tuple[Plane, list[Problem]]:
    """``taken``: address and port."""
    problems = [
        Problem(owner, f"port {listener.port} of the node is taken by another program")
        for listener in plane.listeners
        if (listener.address, listener.port) in taken
        for owner in _owners(listener)
    ]
    return Plane(tuple(each for each in plane.listeners if (each.address, each.port) not in taken)), problems


def _owners(listener: Listener) -> list[Owner]:
    found = {route.owner: None for host in listener.hosts for route in host.routes}
    return list(found | {route.owner: None for route in listener.tls_routes})


def _without_owners(listener: Listener, refused: Mapping[Owner, str]) -> Listener:
    hosts = tuple(
        VirtualHost(host.name, tuple(route for route in host.routes if route.owner not in refused), host.deep)
        for host in listener.hosts
    )
    tls = tuple(route for route in listener.tls_routes if route.owner not in refused)
    return dataclasses.replace(listener, hosts=hosts, tls_routes=tls)
