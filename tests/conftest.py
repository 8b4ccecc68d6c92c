"""No test fails because the machine is busy: limits protect from hangs, and slow tests are told by processor time.

A limit in seconds of the clock says more of the machine than of the test: beside other work a test takes many times as
long. Processor time is nearly the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

import hypothesis
import pytest
import suite_samples
import suite_sharing
import suite_sweep
import suite_where
from hypothesis.internal.conjecture import providers

from sampan.keeping import Keeper, Kept, Patience

# A thousand modules: what one process has compiled is read by all others, also where nothing is written by default.
sys.dont_write_bytecode = False
# Programs in Go live for a tenth of a second here, of which a third would go into collecting their garbage.
os.environ.setdefault("GOGC", "400")

# Hypothesis has limits by the clock of its own, for an example and for making one. Its examples are the same each time:
# what passes here passes there, and what fails fails again.
hypothesis.settings.register_profile(
    "the same everywhere",
    max_examples=suite_samples.of(100, 50),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("the same everywhere")
# Nor do they go by which modules this process has loaded so far, whose constants it would try.
providers._get_local_constants = providers.Constants  # type: ignore[assignment]

#: What a unit test may use, its fixtures left out.
CPU_SECONDS = 2.0

_slow: dict[str, float] = {}
_USED = "seconds of processor time"
_ERRORS = pytest.StashKey["ErrorRecords"]()
#: gRPC wakes the event loop of the first test that used it, which is closed by the time of the next; a process has one.
_OF_GRPC = "Exception in callback PollerCompletionQueue._handle_events"


class ErrorRecords(logging.Handler):
    """What was logged at error level, by whomever: a fault, unless the test asked for it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def unexpected(self, expected: Sequence[str]) -> list[str]:
        said = [f"{record.name}: {record.getMessage()}" for record in self.records]
        return [text for text in said if not any(part in text for part in (*expected, _OF_GRPC))]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    handler = item.stash[_ERRORS] = ErrorRecords()
    logging.getLogger().addHandler(handler)
    try:
        return (yield)
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.fixture(autouse=True)
def _no_unexpected_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Made first, so ended last: what the other fixtures say at their end counts too."""
    yield
    expected = [text for marker in request.node.iter_markers("logs_errors") for text in marker.args]
    found = request.node.stash[_ERRORS].unexpected(expected)
    if found:
        pytest.fail(
            "logged at error level, and not expected (pytest.mark.logs_errors):\n" + "\n".join(found), pytrace=False
        )


# Nothing of what the collection makes is let go of before its end: the collector need not go through it meanwhile.
gc.disable()


def pytest_collection_finish() -> None:
    """What imports and the collection made stays: the collector need not go through it again and again, nor as often
    as it does for a program that is to be small."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def _leaves_nothing_open() -> Iterator[None]:
    """What a module leaves open (a socket, a file, a coroutine) is told at its end, not in whichever test follows.

    What it leaves in use (modules, caches) is frozen too: looked through at each end, it took a tenth of all time.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    began = time.process_time()
    try:
        return (yield)
    finally:
        used = time.process_time() - began
        if used > CPU_SECONDS and item.get_closest_marker("e2e") is None:
            item.user_properties.append((_USED, used))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where several processes run tests, this is asked in the one that tells of them."""
    if report.when == "call":
        for name, used in report.user_properties:
            if name == _USED:
                _slow[report.nodeid] = used


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--where", action="store_true", help="tell at the end where the time went (tests/suite)")


def pytest_configure(config: pytest.Config) -> None:
    suite_sweep.mark()
    config.pluginmanager.register(suite_sharing, "suite_sharing")
    if config.getoption("--where"):
        config.pluginmanager.register(suite_where.Meter())
        config.pluginmanager.register(suite_where.Where())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _slow:
        terminalreporter.section(f"unit tests that used more than {CPU_SECONDS:g} s of processor time")
        for name, used in sorted(_slow.items(), key=lambda each: -each[1]):
            terminalreporter.write_line(f"{used:5.1f} s  {name}")


class Struck(Exception):
    """What a test ends a component with."""


class Faults:
    """Ends the present life of kept components, by their full names. ``lives`` counts how often each was started."""

    def __init__(self) -> None:
        self.lives: Counter[str] = Counter()
        self._dooms: dict[str, asyncio.Event] = {}

    def strike(self, name: str) -> None:
        self._dooms[name].set()

    async def back(self, name: str, life: int = 2) -> None:
        """Until it has been started that often."""
        async with asyncio.timeout(30):
            while self.lives[name] < life:  # noqa: ASYNC110 (all runs on this loop: this lets it work)
                await asyncio.sleep(0)

    async def live(self, name: str, run: Callable[[], Awaitable[object]]) -> None:
        self.lives[name] += 1
        doom = self._dooms[name] = asyncio.Event()
        tasks = [asyncio.ensure_future(run()), asyncio.ensure_future(doom.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if doom.is_set():
            raise Struck
        await tasks[0]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """For code that runs under keepers: each component can be struck, and is started again at once."""
    struck, keep = Faults(), Keeper.keep

    def keep_struck(keeper: Keeper, name: str, run: Callable[[], Awaitable[object]], *, ends: bool = False) -> Kept:
        return keep(keeper, name, lambda: struck.live(keeper._prefix + name, run), ends=ends)

    monkeypatch.setattr(Keeper, "keep", keep_struck)
    monkeypatch.setattr(Patience, "after", lambda *_: 0.0)
    return struck


@pytest.fixture(scope="session")
def etcd_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One member of etcd for all tests of a process: each has a prefix of its own."""
    from etcd_members import Members

    members = Members(tmp_path_factory.mktemp("etcd"), 1)
    members.start(members.all[0])
    try:
        members.wait_ready()
        yield members.endpoints[0]
    finally:
        members.stop()
