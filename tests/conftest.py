"""No test fails because the machine is busy: limits protect from hangs, and slow tests are told by processor time.

A limit in seconds of the clock says more of the machine than of the test: beside other work a test takes many times as
long. Processor time is nearly the same on a busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import hypothesis
import pytest

# Hypothesis has limits by the clock of its own, for an example and for making one.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")

#: What a unit test may use, its fixtures left out.
CPU_SECONDS = 2.0

_slow: dict[str, float] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    began = time.process_time()
    try:
        return (yield)
    finally:
        used = time.process_time() - began
        if used > CPU_SECONDS and item.get_closest_marker("e2e") is None:
            _slow[item.nodeid] = used


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _slow:
        terminalreporter.section(f"unit tests that used more than {CPU_SECONDS:g} s of processor time")
        for name, used in sorted(_slow.items(), key=lambda each: -each[1]):
            terminalreporter.write_line(f"{used:5.1f} s  {name}")
