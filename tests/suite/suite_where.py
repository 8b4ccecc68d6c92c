"""Where the time of a run goes: ``scripts/test --where`` (of the whole, or with the paths that one looks at).

Each process says with every report what processor time it and the programs that it waited for have used since its last
one; whoever tells of them (the one process, or the one that hands tests out) adds up and prints three tables at the
end: by folder, by file, and minute by minute what each process was at and how much of the machine lay idle. Processes
of a cluster that live on by themselves (``sampan up``) are in nobody's figure: they are the rest of what was busy.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: so many files are listed
FILES = 40
_SLOT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A test's set-up, call or teardown in a process; ``own`` and ``children`` are seconds of processor time."""

    process: str
    nodeid: str
    when: str
    start: float
    stop: float
    own: float
    children: float

    @property
    def file(self) -> str:
        return self.nodeid.partition("::")[0].removeprefix("tests/")

    @property
    def folder(self) -> str:
        return self.file.partition("/")[0] if "/" in self.file else "."


@dataclass(frozen=True, slots=True)
class Beat:
    """The machine's processors at a moment, in ticks since its start: all, and those that lay idle."""

    at: float
    all: int
    idle: int


class Meter:
    """In each process that runs tests: what was used since the last report, into the report."""

    def __init__(self, times: Callable[[], os.times_result] = os.times) -> None:
        self._times = times
        self._last = times()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: Any = yield
        now, last = self._times(), self._last
        self._last = now
        report.used = [
            now.user + now.system - last.user - last.system,
            now.children_user + now.children_system - last.children_user - last.children_system,
        ]
        return report


class Where:
    """In the process that tells of the run."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.beats: list[Beat] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if used := getattr(report, "used", None):
            node = getattr(report, "node", None)
            process = node.gateway.id if node is not None else "main"
            self.phases.append(Phase(process, report.nodeid, report.when, report.start, report.stop, *used))
            self.beats.append(_beat(report.stop))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for title, lines in render(self.phases, self.beats):
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)


def _beat(at: float) -> Beat:
    with Path("/proc/stat").open() as stat:
        ticks = [int(text) for text in stat.readline().split()[1:9]]
    return Beat(at, sum(ticks), ticks[3] + ticks[4])


def render(phases: Sequence[Phase], beats: Sequence[Beat]) -> Iterator[tuple[str, list[str]]]:
    """Titles, and the lines below them."""
    if phases:
        yield "where the time went, by folder", _table(phases, lambda phase: phase.folder)
        yield f"the {FILES} files that took longest", _table(phases, lambda phase: phase.file)[: FILES + 2]
        yield "what the processes were at, minute by minute", _timeline(phases, beats)


def _table(phases: Iterable[Phase], key: Callable[[Phase], str]) -> list[str]:
    groups: defaultdict[str, list[Phase]] = defaultdict(list)
    for phase in phases:
        groups[key(phase)].append(phase)
        groups["all"].append(phase)
    lines = ["  wall s  of it fixtures   cpu s  programs' cpu s  tests"]
    for name, own in sorted(groups.items(), key=lambda each: (each[0] != "all", -_wall(each[1]))):
        fixtures = _wall(phase for phase in own if phase.when != "call")
        cpu, programs = sum(phase.own for phase in own), sum(phase.children for phase in own)
        tests = len({phase.nodeid for phase in own})
        lines.append(f"{_wall(own):8.1f}  {fixtures:14.1f} {cpu:7.1f}  {programs:15.1f}  {tests:5}  {name}")
    return lines


def _wall(phases: Iterable[Phase]) -> float:
    return sum(phase.stop - phase.start for phase in phases)


def _timeline(phases: Sequence[Phase], beats: Sequence[Beat]) -> list[str]:
    """A row a minute: for each process the file in which it was for longest then."""
    begin, end = min(phase.start for phase in phases), max(phase.stop for phase in phases)
    processes = sorted({phase.process for phase in phases})
    at: defaultdict[tuple[int, str], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for phase in phases:
        first, last = (int((moment - begin) / _SLOT_SECONDS) for moment in (phase.start, phase.stop))
        for slot in range(first, last + 1):
            low, high = begin + slot * _SLOT_SECONDS, begin + (slot + 1) * _SLOT_SECONDS
            at[slot, phase.process][phase.file] += max(min(phase.stop, high) - max(phase.start, low), 0.0)
    lines = [" min  idle  " + "".join(f"{process:<34}" for process in processes)]
    for slot in range(int((end - begin) / _SLOT_SECONDS) + 1):
        low = begin + slot * _SLOT_SECONDS
        cells = [max(files, key=files.__getitem__, default="") for files in (at[slot, name] for name in processes)]
        idle = _idle([beat for beat in beats if low <= beat.at < low + _SLOT_SECONDS])
        lines.append(f"{slot:4}  {idle}  " + "".join(f"{cell[-33:]:<34}" for cell in cells))
    return lines


def _idle(beats: Sequence[Beat]) -> str:
    ticks = beats[-1].all - beats[0].all if beats else 0
    return f"{100 * (beats[-1].idle - beats[0].idle) / ticks:3.0f}%" if ticks else "    "
