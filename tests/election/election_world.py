"""A world of several processes that elect a leader, in virtual time: each can be killed, stopped, paused or cut off.

The processes are tasks of one loop that does not run what belongs to a process that stands still, as a kernel would
not: its callbacks and timers wait until it goes on. They reach one real API server through wires that take time, and
that lose or keep back what is sent while they are cut. The store notes whose request each commit was.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson

from sampan.api.errors import ApiError, ServiceUnavailable
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, Transport, WatchEvent
from sampan.client.client import Client
from sampan.client.leaderelection import ElectionConfig, LeaderElector, LeadershipLost, Term, fenced
from sampan.client.timeline import VirtualTimeline
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore
from sampan.testing.virtual import VirtualLoop

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASES = "/registry/coordination.k8s.io/leases/"
#: what is told of what was done, by anybody, after the fact
TOLD = ("/registry/core/events/", "/registry/events.k8s.io/events/")
CALL_SECONDS = 70.0

PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="")
SENDER: contextvars.ContextVar[str] = contextvars.ContextVar("sender", default="")


class _Ready(deque[asyncio.Handle]):
    """What the loop runs next; what belongs to a process that stands still is put aside."""

    def __init__(self) -> None:
        super().__init__()
        self.aside: dict[str, list[asyncio.Handle]] = {}

    def append(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(PROCESS, "")  # type: ignore[attr-defined]  # whose it is
        if process in self.aside:
            self.aside[process].append(handle)
        else:
            super().append(handle)


class StandingLoop(VirtualLoop):
    def __init__(self) -> None:
        super().__init__()
        self._ready = _Ready()

    def stop_process(self, process: str) -> None:
        """From now on nothing of it runs."""
        aside = self._ready.aside.setdefault(process, [])
        for index, handle in enumerate(self._ready):
            if handle._context.get(PROCESS, "") == process:  # type: ignore[attr-defined]
                aside.append(handle)
                self._ready[index] = asyncio.Handle(lambda: None, (), self, contextvars.Context())

    def stands(self, process: str) -> bool:
        return process in self._ready.aside

    def continue_process(self, process: str) -> None:
        for handle in self._ready.aside.pop(process, ()):
            self._ready.append(handle)


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=StandingLoop) as runner:
        return runner.run(work)


@dataclass(frozen=True)
class Commit:
    at: float
    revision: int
    key: str
    sender: str
    #: of a Lease; else ""
    holder: str = ""


class NotingStore(MemoryStore):
    """Notes who asked for each commit."""

    def __init__(self) -> None:
        super().__init__(history_limit=1000)
        self.commits: list[Commit] = []

    async def commit(self, key: str, expected: int | None, value: bytes | None, **how: Any) -> int:
        revision = await super().commit(key, expected, value, **how)
        holder = ""
        if value is not None and key.startswith(LEASES):
            holder = orjson.loads(value)["spec"].get("holderIdentity") or ""
        at = asyncio.get_running_loop().time()
        self.commits.append(Commit(at, revision, key, SENDER.get(), holder))
        return revision


class ProcessTimeline(VirtualTimeline):
    """The clock of one process: it stands still while the machine below it is paused."""

    def __init__(self) -> None:
        super().__init__(START)
        self.lost = 0.0

    def monotonic(self) -> float:
        return super().monotonic() - self.lost

    def now(self) -> datetime:
        return super().now() - timedelta(seconds=self.lost)

    def call_at(self, moment: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return super().call_at(moment + self.lost, callback)


@dataclass
class Process:
    """One life of a candidate, from its start to its end."""

    name: str
    loop: StandingLoop
    timeline: ProcessTimeline = field(default_factory=ProcessTimeline)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    elector: LeaderElector | None = None

    def __post_init__(self) -> None:
        self.connected.set()

    def cut(self) -> None:
        self.connected.clear()

    def heal(self) -> None:
        self.connected.set()

    def stop(self) -> None:
        """SIGSTOP; and, when nothing follows, as good as SIGKILL."""
        self.loop.stop_process(self.name)

    def go_on(self, *, lost_seconds: float = 0.0) -> None:
        """``lost_seconds``: the clock stood still for so long, as with a virtual machine that was paused."""
        self.timeline.lost += lost_seconds
        self.loop.continue_process(self.name)


class Wire:
    """A ``Transport`` to the server over a network of delays, and of cuts."""

    def __init__(self, world: World, process: Process, inner: Transport) -> None:
        self._world, self._process, self._inner = world, process, inner

    async def call(self, call: Call) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._world.fences:
            call = replace(call, leader="")
        self._world.beyond(self._serve(call, answer))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found = await answer
        except TimeoutError:
            raise ServiceUnavailable(f"{call.method} {call.path}: no answer") from None
        if isinstance(found, ApiError):
            raise found
        return found

    async def _serve(self, call: Call, answer: asyncio.Future[Any]) -> None:
        SENDER.set(self._process.name)
        if not await self._travels():
            return
        try:
            found = await self._inner.call(call)
        except ApiError as error:
            found = error
        if await self._travels() and not answer.done():
            answer.set_result(found)

    async def _travels(self) -> bool:
        """What is sent over a cut wire is lost, or arrives when the wire is mended."""
        chance = self._world.chance
        await asyncio.sleep(chance.choice((0.001, 0.01, 0.1, 0.5)) * chance.random())
        while not self._process.connected.is_set():
            if chance.random() < 0.5:
                return False
            await self._process.connected.wait()
        return True

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        events: asyncio.Queue[WatchEvent | ApiError | None] = asyncio.Queue()
        pump = self._world.beyond(self._pump(call, events))
        try:
            yield _drain(events)
        finally:
            pump.cancel()

    async def _pump(self, call: Call, events: asyncio.Queue[WatchEvent | ApiError | None]) -> None:
        try:
            async with self._inner.watch(call) as found:
                async for event in found:
                    await self._process.connected.wait()
                    events.put_nowait(event)
        except ApiError as error:
            events.put_nowait(error)
        events.put_nowait(None)

    def cache_view(self, resource: Resource) -> CacheView | None:
        return None

    async def close(self) -> None: ...


async def _drain(events: asyncio.Queue[WatchEvent | ApiError | None]) -> AsyncIterator[WatchEvent]:
    while (event := await events.get()) is not None:
        if isinstance(event, ApiError):
            raise event
        yield event


#: ``work(process, term, client_for)``: what a leader does. ``client_for(user)`` acts within the term.
Work = Callable[[Process, Term, Callable[[str], Client]], Awaitable[None]]


class World:
    """``lease`` is what its processes want. ``fences`` False: the server is not told who leads."""

    def __init__(self, server: Server, store: NotingStore, lease: str, user: str, seed: int, work: Work) -> None:
        self.server, self.store, self.lease, self.user = server, store, lease, user
        self.chance = random.Random(seed)
        self.fences = True
        self.processes: list[Process] = []
        self.began = len(store.commits)
        self._work = work
        self._outside = contextvars.copy_context()
        self._tasks: set[asyncio.Task[Any]] = set()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StandingLoop)
        self.loop = loop

    def beyond(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Something that happens in no process: on the way, and in the server."""
        task = self.loop.create_task(work, context=self._outside.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start(self, name: str) -> Process:
        process = Process(name, self.loop)
        context = self._outside.copy()
        context.run(PROCESS.set, name)
        process.task = self.loop.create_task(self._live(process), name=name, context=context)
        self.processes.append(process)
        return process

    async def _live(self, process: Process) -> None:
        """As a program does: it ends when it does not lead any more."""

        def client(user: str) -> Client:
            groups = ("system:serviceaccounts",) if user.startswith("system:serviceaccount:") else ()
            return Client(Wire(self, process, self.server.local_transport(user, groups or None)))

        async def lead(term: Term) -> None:
            await self._work(process, term, lambda user: fenced(client(user), term))

        config = ElectionConfig("kube-system", self.lease, process.name)
        chance = random.Random(self.chance.random())
        process.elector = LeaderElector(client(self.user), config, process.timeline, chance)
        try:
            await process.elector.run(lead)
        except LeadershipLost:
            return

    def leader(self) -> Process | None:
        """Who has the lease, as the store has it."""
        held = [each.holder for each in self.lease_commits()]
        return next((each for each in self.processes if held and each.name == held[-1]), None)

    def lease_commits(self) -> list[Commit]:
        key = f"{LEASES}kube-system/{self.lease}"
        return [each for each in self.store.commits[self.began :] if each.key == key]

    async def until_led(self, *, other_than: Process | None = None) -> float:
        """When somebody (else) had the lease."""
        while (found := self.leader()) is None or found is other_than:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return next(
            each.at for each in reversed(self.lease_commits()) if each.holder == found.name and self._is_first(each)
        )

    def _is_first(self, commit: Commit) -> bool:
        before = [each for each in self.lease_commits() if each.revision < commit.revision]
        return not before or before[-1].holder != commit.holder

    def acts(self) -> list[Commit]:
        """What was written by the processes, but for the lease and for Events."""
        names = {process.name for process in self.processes}
        return [
            each
            for each in self.store.commits[self.began :]
            if each.sender in names and not each.key.startswith((LEASES, *TOLD))
        ]

    def usurped(self) -> list[Commit]:
        """Writes of somebody who did not have the lease when the store took them."""
        held, found = iter(self.lease_commits()), []
        following, holder = next(held, None), ""
        for act in self.acts():
            while following is not None and following.revision < act.revision:
                following, holder = next(held, None), following.holder
            if act.sender != holder:
                found.append(act)
        return found

    async def end(self) -> None:
        """Nobody is left; what was under way has ended."""
        for process in self.processes:
            process.cut()
            process.go_on()
        running = [process.task for process in self.processes if process.task is not None]
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in running:
            if not task.cancelled():
                task.result()


@asynccontextmanager
async def api_server() -> AsyncIterator[tuple[Server, NotingStore]]:
    store = NotingStore()
    timeline = VirtualTimeline(START)
    config = ServerConfig(listen=False, openapi=False, clock=timeline, random=random.Random(1))
    async with Server(config, store=store) as server:
        yield server, store


class Schedule:
    """Two candidates, whose leader is struck again and again while somebody makes work for it all the time."""

    user: str
    work: Work

    def __init__(self, server: Server, store: NotingStore, seed: int) -> None:
        lease = f"{self.user.removeprefix('system:')}-{seed}"
        self.world = World(server, store, lease, self.user, seed, type(self).work)
        self.seed = seed
        self.admin = Client(server.local_transport())
        self.made: list[str] = []
        self.lives = 0

    async def prepare(self) -> None:
        """What all of it needs."""

    async def make(self, name: str) -> None:
        """One more piece of work."""
        raise NotImplementedError

    async def is_done(self, name: str) -> bool:
        raise NotImplementedError

    def start(self) -> Process:
        self.lives += 1
        return self.world.start(f"p{self.seed}-{self.lives}")

    async def _make(self) -> None:
        while True:
            name = f"n{self.seed}-{len(self.made)}"
            await self.make(name)
            self.made.append(name)
            await asyncio.sleep(self.world.chance.random() * 6)

    async def go(self, strikes: int = 2) -> None:
        world = self.world
        await self.prepare()
        self.start()
        await world.until_led()
        self.start()
        user = world.beyond(self._make())
        for _ in range(strikes):
            await asyncio.sleep(5 + 10 * world.chance.random())
            await self.strike()
        assert not user.done(), user.exception()
        user.cancel()
        await self._settled()

    async def strike(self) -> None:
        world = self.world
        leader = world.leader()
        assert leader is not None and leader.task is not None
        how = world.chance.choice(("killed", "stopped", "paused", "cut"))
        began = world.loop.time()
        (leader.cut if how == "cut" else leader.stop)()
        # Sometimes it comes back before anybody has missed it.
        away = world.chance.choice((3.0, 12.0, 14.9, 15.1, 18.0, 30.0)) + world.chance.random()
        taking = world.beyond(world.until_led(other_than=leader))
        await asyncio.sleep(away)
        if how == "stopped":
            leader.go_on()
        elif how == "paused":
            leader.go_on(lost_seconds=away)
        elif how == "cut":
            leader.heal()
        if how == "killed" or away > 20:
            assert await taking - began <= 20, f"{how} for {away} s"
        taking.cancel()
        await asyncio.sleep(12)
        self.replace_the_dead(leader if how == "killed" else None)

    def replace_the_dead(self, killed: Process | None) -> None:
        """Whoever supervises the programs starts another for each that has ended."""
        alive = [each for each in self.world.processes if each is not killed and each.task and not each.task.done()]
        for _ in range(2 - sum(not self.world.loop.stands(each.name) for each in alive)):
            self.start()

    async def _settled(self) -> None:
        """All that is wanted gets done."""
        async with asyncio.timeout(90):
            for name in self.made:
                while not await self.is_done(name):  # noqa: ASYNC110  # virtual time
                    await asyncio.sleep(0.5)


async def schedules(of: type[Schedule], seeds: range) -> None:
    """Each with an end that is right, and at no moment with two who act."""
    actors = 0
    async with api_server() as (server, store):
        for seed in seeds:
            schedule = of(server, store, seed)
            await schedule.go()
            assert schedule.world.usurped() == []
            actors += len({each.sender for each in schedule.world.acts()})
            assert len(schedule.world.acts()) >= len(schedule.made) > 0
            await schedule.world.end()
    assert actors > len(seeds)
