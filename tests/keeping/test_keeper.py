"""Components that are kept running: each fails, waits and comes back alone, and somebody is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import ServiceUnavailable
from sampan.keeping import Keeper, Kept, Patience, at_end, fault_words
from sampan.keeping.metrics import render_components

pytestmark = pytest.mark.logs_errors(
    "it is started again", "cannot clean up", "failed", "could not be told", "could not be taken back"
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)
EAGER = Patience(first_seconds=0.0, longest_seconds=0.0)


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with Keeper(patience=EAGER, clock=FixedClock(NOW)) as made:
        yield made


class Component:
    """Fails as often as told, by what is told, and then runs on."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.runs = 0
        self.steady = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.faults:
            fault = self.faults.pop(0)
            if fault is None:
                return
            raise fault
        self.steady.set()
        await asyncio.get_running_loop().create_future()


async def test_one_that_fails_is_started_again_and_its_neighbours_go_on(keeper: Keeper) -> None:
    healthy, failing = Component(), Component(RuntimeError("x"), ServiceUnavailable("no room"))
    keeper.keep("healthy", healthy.run)
    kept = keeper.keep("failing", failing.run)
    await failing.steady.wait()
    assert (healthy.runs, failing.runs) == (1, 3)
    assert (kept.state, kept.failures, kept.last_fault, kept.failed_at) == ("running", 2, "no room", NOW)


async def test_one_that_ends_by_itself_is_started_again(keeper: Keeper) -> None:
    component = Component(None)
    kept = keeper.keep("ending", component.run)
    await component.steady.wait()
    assert (kept.failures, kept.last_fault) == (1, "it ended by itself")


async def test_one_that_has_an_end_is_done_when_it_comes_to_it(keeper: Keeper) -> None:
    component = Component(RuntimeError("x"), None)
    kept = keeper.keep("job", component.run, ends=True)
    assert kept._task is not None
    await kept._task
    assert (kept.state, kept.failures, component.runs) == ("done", 1, 2)


async def test_what_a_component_waits_for_may_be_cancelled_without_ending_it(keeper: Keeper) -> None:
    steady, runs = asyncio.Event(), 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        waited = asyncio.get_running_loop().create_future()
        if runs == 1:
            waited.cancel()
        else:
            steady.set()
        await waited

    kept = keeper.keep("waiting", run)
    await steady.wait()
    assert kept.last_fault == "what it waited for was cancelled"


def test_the_wait_doubles_up_to_its_limit() -> None:
    patience = Patience(first_seconds=0.5, longest_seconds=30)
    assert [patience.after(failures) for failures in (1, 2, 3, 7, 5000)] == [0.5, 1, 2, 30, 30]


async def test_after_a_healthy_time_the_wait_is_the_first_again() -> None:
    component = Component(*[RuntimeError("x")] * 3)
    # Every run counts as a healthy one, so the wait never grows: at an hour a step the test would not end.
    patience = Patience(first_seconds=0.001, longest_seconds=3600, healthy_seconds=0)
    async with Keeper(patience=patience) as keeper:
        keeper.keep("c", component.run)
        await component.steady.wait()


async def test_a_taken_name_is_refused(keeper: Keeper) -> None:
    keeper.keep("a", Component().run)
    with pytest.raises(ValueError, match="there is a component 'a' already"):
        keeper.keep("a", Component().run)


async def test_failures_and_returns_are_told_also_to_who_listens_above(keeper: Keeper) -> None:
    told: list[tuple[str, str]] = []

    def tell(kept: Kept) -> None:
        told.append((kept.name, kept.state))

    def broken(kept: Kept) -> None:
        raise RuntimeError("a listener's own fault")

    keeper.listen(broken)
    keeper.listen(tell)
    component = Component(RuntimeError("x"))
    keeper.branch().keep("c", component.run)
    await component.steady.wait()
    assert told == [("c", "waiting"), ("c", "running")]


async def test_a_keeper_inside_of_a_component_is_seen_from_above_under_its_name(keeper: Keeper) -> None:
    inner = Component()

    async def outer() -> None:
        async with Keeper() as inside:
            inside.keep("informer", inner.run)
            await asyncio.get_running_loop().create_future()

    keeper.keep("scheduler", outer)
    await inner.steady.wait()
    assert [kept.name for kept in keeper] == ["scheduler", "scheduler/informer"]


async def test_a_component_that_comes_back_is_not_listed_twice(keeper: Keeper) -> None:
    steady, runs = asyncio.Event(), 0

    async def outer() -> None:
        nonlocal runs
        runs += 1
        Keeper().keep("left open", Component().run)
        if runs == 1:
            raise RuntimeError("x")
        steady.set()
        await asyncio.get_running_loop().create_future()

    keeper.keep("outer", outer)
    await steady.wait()
    assert [kept.name for kept in keeper] == ["outer", "outer/left open"]


async def test_what_a_component_registered_is_taken_back_at_its_end_the_last_first(keeper: Keeper) -> None:
    taken_back: list[str] = []
    steady = asyncio.Event()

    def undo(name: str) -> Callable[[], None]:
        return lambda: taken_back.append(name)

    async def run() -> None:
        if taken_back:
            steady.set()
            await asyncio.get_running_loop().create_future()
        at_end(undo("first"))
        at_end(lambda: 1 / 0)  # one that cannot be taken back keeps nobody else
        await asyncio.create_task(_registers(undo("of a task")))
        raise RuntimeError("x")

    keeper.keep("registering", run)
    await steady.wait()
    assert taken_back == ["of a task", "first"]
    at_end(undo("outside of any"))


async def _registers(undo: Callable[[], None]) -> None:
    at_end(undo)


async def test_closing_ends_every_component_and_those_of_branches(keeper: Keeper) -> None:
    ended: list[str] = []

    async def run(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(name)

    keeper.keep("trunk", lambda: run("trunk"))
    branch = keeper.branch()
    branch.keep("branch", lambda: run("branch"))
    await asyncio.sleep(0)
    await branch.close()
    assert ended == ["branch"] and [kept.name for kept in keeper] == ["trunk"]
    await keeper.close()
    assert ended == ["branch", "trunk"]


async def test_the_log_has_the_traceback(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    component = Component(RuntimeError("the reason"))
    keeper.keep("c", component.run)
    await component.steady.wait()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "c failed; it is started again" and record.exc_info is not None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ServiceUnavailable("the server is away"), "the server is away"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "use of /x: no such file or directory"),
        (ExceptionGroup("unhandled", [ServiceUnavailable("inner")]), "inner"),
        (KeyError("spec"), "an internal error; the log has it"),
        (ServiceUnavailable("x" * 5000), "x" * 240),
    ],
)
def test_what_is_said_of_a_fault_has_nothing_of_python_and_a_bound(error: Exception, words: str) -> None:
    assert fault_words(error) == words


async def test_components_are_rendered_for_prometheus(keeper: Keeper) -> None:
    component = Component(RuntimeError("x"))
    keeper.keep('a "b"', component.run)
    await component.steady.wait()
    lines = [line for line in render_components(keeper).splitlines() if not line.startswith("#")]
    assert lines == [
        'sampan_component_running{component="a \\"b\\""} 1',
        'sampan_component_failures_total{component="a \\"b\\""} 1',
    ]


async def test_one_that_returns_or_fails_when_it_is_ended_is_not_started_again() -> None:
    runs: list[str] = []

    async def returns() -> None:
        runs.append("returns")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def fails() -> None:
        runs.append("fails")
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cannot clean up")

    keeper = Keeper(patience=EAGER)
    kept = [keeper.keep("returns", returns), keeper.keep("fails", fails)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(keeper.close())
    for _ in range(20):
        await asyncio.sleep(0)
    ended = closing.done()
    while not closing.done():  # a keeper that goes on is ended by force
        for each in kept:
            each._task.cancel() if each._task else None
        await asyncio.sleep(0)
        if len(runs) > 50:
            break
    assert ended
    assert sorted(runs) == ["fails", "returns"]
