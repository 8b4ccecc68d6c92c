"""No request is lost while endpoints, certificates, rules and the keeper of the program change."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from edge_lab import ADDRESS, HTTP, HTTPS, OWNER, Connection, Lab, ask, connected, lab
from ingress_world import pair
from test_ingress_table import _shown

from sampan.edge.haproxy import program, runtime
from sampan.edge.haproxy.dataplane import DataPlane
from sampan.edge.haproxy.program import Program
from sampan.edge.model import (
    Backend,
    Certificate,
    Endpoint,
    Listener,
    Match,
    PathMatch,
    Plane,
    Route,
    VirtualHost,
    Weighted,
)

#: How many requests are answered in each phase; more by SAMPAN_EDGE_REQUESTS.
REQUESTS = int(os.environ.get("SAMPAN_EDGE_REQUESTS", "150"))
pytestmark = pytest.mark.timeout(60 + REQUESTS // 5)


@pytest.fixture(autouse=True)
def on_a_slow_machine_nobody_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does not answer in time is taken for one that hangs, and ended with all that it has."""
    monkeypatch.setattr(runtime, "ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(program, "START_SECONDS", 60.0)


class Load:
    """Requests without a pause on kept-alive connections, plain and TLS; a faulty answer is a failure."""

    def __init__(self) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._grown = asyncio.Event()

    async def run(self, port: int, tls: str | None) -> None:
        while True:
            async with connected(port, tls) as connection:
                while await self._one(connection):
                    pass

    async def _one(self, connection: Connection) -> bool:
        """False: the connection is to end, as the program says or because it did."""
        try:
            answer = await connection.ask("web.io", "/")
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failures.append(repr(error))
            return False
        if answer.status != 200:
            self.failures.append(f"{answer.status} {answer.body[:80]!r}")
        self.answered += 1
        self._grown.set()
        return answer.headers.get("connection") != "close"

    async def more(self, count: int = REQUESTS) -> None:
        wanted = self.answered + count
        while self.answered < wanted:
            self._grown.clear()
            await self._grown.wait()


@contextlib.asynccontextmanager
async def load() -> AsyncIterator[Load]:
    made = Load()
    async with asyncio.TaskGroup() as group:
        workers = [
            group.create_task(made.run(port, tls))
            for port, tls in ((HTTP, None), (HTTP, None), (HTTP, None), (HTTPS, "web.io"))
        ]
        try:
            yield made
        finally:
            for worker in workers:
                worker.cancel()


def plane(*endpoints: Endpoint, certificate: Certificate, paths: tuple[str, ...] = ("/",)) -> Plane:
    backend = Backend("default/web:80", endpoints)
    routes = tuple(Route(path, OWNER, Match(PathMatch("prefix", path)), (Weighted(backend),)) for path in paths)
    hosts = (VirtualHost("web.io", routes),)
    return Plane(
        (
            Listener("http", HTTP, "http", ADDRESS, hosts),
            Listener("https", HTTPS, "https", ADDRESS, hosts, (certificate,)),
        )
    )


def certificate(name: str) -> Certificate:
    return Certificate("default/web", *pair(name), hosts=("web.io",))


async def test_nothing_is_lost_while_endpoints_certificates_rules_and_the_keeper_change() -> None:
    async with lab() as made:
        one, two, three = [await made.backend(name) for name in ("one", "two", "three")]
        first, second = certificate("first"), certificate("second")
        assert await made.plane.apply(plane(one, certificate=first)) == []
        async with load() as running:
            await running.more()
            await _endpoints_move(made, running, one, two, three)
            await made.plane.apply(plane(two, three, certificate=second))
            async with connected(HTTPS, tls="web.io") as connection:
                assert await _shown(connection) == "second"
            assert made.plane.replaced == 1
            await running.more()
            await made.plane.apply(plane(two, three, certificate=second, paths=("/", "/more")))
            assert made.plane.replaced == 2
            await running.more()
            # The keeper was killed: another one finds the program by its socket and goes on.
            heir = DataPlane(Program(made.program.directory, made.program.run, made.program.log), made.plane._settings)
            assert await heir.apply(plane(two, certificate=second)) == []
            await running.more()
        assert running.failures == []
        assert running.answered >= 7 * REQUESTS
        await heir.end()


class Paced(Load):
    """So many requests a second as the clock has it, whatever became of the former ones: who is late catches up."""

    def __init__(self, count: int, rate: float) -> None:
        super().__init__()
        self._rate, self._tickets = rate, iter(range(count))
        self._began = asyncio.get_running_loop().time()

    async def run(self, port: int, tls: str | None) -> None:
        going = True
        while going:
            async with connected(port, tls) as connection:
                while going := await self._due():
                    if not await self._one(connection):
                        break

    async def _due(self) -> bool:
        """False: there are no more."""
        ticket = next(self._tickets, None)
        if ticket is not None:
            await asyncio.sleep(self._began + ticket / self._rate - asyncio.get_running_loop().time())
        return ticket is not None


async def test_of_five_hundred_requests_a_second_none_fails_whatever_changes_meanwhile() -> None:
    """Endpoints come, drain and go; certificates are renewed, rules change, and keepers of the program follow one
    another, again and again, as long as the requests come."""
    count = 6 * REQUESTS
    async with lab() as made:
        one, two, three = [await made.backend(name) for name in ("one", "two", "three")]
        first, second = certificate("first"), certificate("second")
        keeper, rounds = made.plane, 0
        assert await keeper.apply(plane(one, certificate=first)) == []
        paced = Paced(count, 500)
        async with asyncio.TaskGroup() as group:
            ways = [(HTTP, None), (HTTPS, "web.io")] * 8
            workers = [group.create_task(paced.run(port, tls)) for port, tls in ways]
            while not all(worker.done() for worker in workers):
                rounds += 1
                assert await keeper.move({"default/web:80": (one, two)})
                assert await keeper.move({"default/web:80": (dataclasses.replace(one, draining=True), two)})
                assert await keeper.move({"default/web:80": (two,)})
                assert await keeper.apply(plane(two, three, certificate=second)) == []
                assert await keeper.apply(plane(two, certificate=first, paths=("/", f"/more{rounds}"))) == []
                follower = Program(made.program.directory, made.program.run, made.program.log)
                keeper = DataPlane(follower, made.plane._settings)
                assert await keeper.apply(plane(one, certificate=first)) == []
        assert paced.failures == [] and paced.answered == count and rounds
        await keeper.end()


async def _endpoints_move(made: Lab, running: Load, one: Endpoint, two: Endpoint, three: Endpoint) -> None:
    """As a rolling update does it: new ones come, old ones drain and go; all of it told to the running program."""
    pid = made.program.pid
    assert await made.plane.move({"default/web:80": (one, two)})
    await running.more()
    assert await made.plane.move({"default/web:80": (dataclasses.replace(one, draining=True), two)})
    await running.more()
    assert (await ask("web.io", "/")).got["backend"] == "two"
    assert await made.plane.move({"default/web:80": (two,)})
    many = tuple(Endpoint("127.0.0.1", port) for port in range(1, 6))
    assert not await made.plane.move({"default/web:80": many})  # there are no places for so many
    assert await made.plane.apply(plane(two, three, certificate=certificate("first"))) == []
    assert pid is not None and made.program.pid == pid
    await running.more()


async def test_a_program_that_is_killed_is_started_again_with_what_it_had() -> None:
    async with lab() as made:
        one, two = await made.backend("one"), await made.backend("two")
        await made.plane.apply(plane(one, certificate=certificate("first")))
        await made.plane.move({"default/web:80": (two,)})
        async with asyncio.TaskGroup() as group:
            kept = group.create_task(made.plane.run())
            before = made.program.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await _until(lambda: made.program.pid not in (None, before))
            assert (await ask("web.io", "/")).got["backend"] == "two"
            kept.cancel()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0)


async def test_a_port_that_another_program_has_costs_this_listener_alone() -> None:
    async with lab() as made:
        one = await made.backend("one")
        taken = await asyncio.start_server(lambda reader, writer: writer.close(), ADDRESS, HTTPS)
        async with taken:
            problems = await made.plane.apply(plane(one, certificate=certificate("first")))
            assert [problem.text for problem in problems] == [f"port {HTTPS} of the node is taken by another program"]
            assert (await ask("web.io", "/")).status == 200


@pytest.mark.parametrize("bad", [r"/\x{110000}", r"/\x{FFFFF}"])
async def test_what_the_program_refuses_is_taken_out_by_object_and_its_neighbour_stays(bad: str) -> None:
    async with lab() as made:
        wanted = plane(await made.backend("one"), certificate=certificate("first"))
        await made.plane.apply(wanted)
        other = dataclasses.replace(OWNER, name="other")
        backend = Backend("default/web:80", (await made.backend("one"),))
        route = Route("bad", other, Match(PathMatch("regex", bad)), (Weighted(backend),))
        listeners = tuple(
            dataclasses.replace(each, hosts=(*each.hosts, VirtualHost("other.io", (route,))))
            for each in wanted.listeners
        )
        problems = await made.plane.apply(Plane(listeners))
        assert {problem.owner.name for problem in problems} == {"other"}
        assert (await ask("web.io", "/")).status == 200
