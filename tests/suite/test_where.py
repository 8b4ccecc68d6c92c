"""The tables of ``--where``."""

from __future__ import annotations

import os
from types import SimpleNamespace

from suite_where import Beat, Meter, Phase, Where, render


def phase(process: str, nodeid: str, when: str, start: float, stop: float) -> Phase:
    return Phase(process, nodeid, when, start, stop, own=1.0, children=0.5)


PHASES = [
    phase("gw0", "tests/e2e/test_a.py::test_x", "setup", 0, 40),
    phase("gw0", "tests/e2e/test_a.py::test_x", "call", 40, 70),
    phase("gw1", "tests/api/test_b.py::test_y", "call", 10, 20),
]


def test_a_folder_has_its_wall_time_fixtures_and_processor_time() -> None:
    tables = dict(render(PHASES, []))
    lines = [line.split() for line in tables["where the time went, by folder"][1:]]
    assert lines == [
        ["80.0", "40.0", "3.0", "1.5", "2", "all"],
        ["70.0", "40.0", "2.0", "1.0", "1", "e2e"],
        ["10.0", "0.0", "1.0", "0.5", "1", "api"],
    ]


def test_each_minute_shows_what_a_process_was_at_and_how_much_lay_idle() -> None:
    *_, (_, lines) = render(PHASES, [Beat(1, 100, 20), Beat(50, 300, 70)])
    assert lines[1].split()[:2] == ["0", "25%"]
    assert "e2e/test_a.py" in lines[1] and "api/test_b.py" in lines[1]
    assert "e2e/test_a.py" in lines[2] and "api/test_b.py" not in lines[2]


def test_nothing_was_run_and_nothing_is_told() -> None:
    assert list(render([], [])) == []


def test_a_report_carries_what_was_used_since_the_last() -> None:
    times = iter([os.times_result((1, 1, 0, 0, 0)), os.times_result((2, 2, 0.25, 0.25, 0))])
    meter, report = Meter(lambda: next(times)), SimpleNamespace()
    asked = meter.pytest_runtest_makereport()
    next(asked)
    try:
        asked.send(report)
    except StopIteration as ended:
        assert ended.value is report
    assert report.used == [2, 0.5]


def test_a_process_of_several_is_told_by_its_name() -> None:
    where = Where()
    report = SimpleNamespace(
        nodeid="tests/test_a.py::test_x", when="call", start=1.0, stop=3.0, used=[0.5, 0.0],
        node=SimpleNamespace(gateway=SimpleNamespace(id="gw3")),
    )  # fmt: skip
    where.pytest_runtest_logreport(report)
    assert where.phases == [Phase("gw3", "tests/test_a.py::test_x", "call", 1.0, 3.0, 0.5, 0.0)]
    assert where.phases[0].folder == "." and where.beats[0].all > 0
