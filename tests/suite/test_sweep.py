"""What killed runs left is known as theirs, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import suite_sweep

#: the same in every process that collects these tests
OURS = 31847


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        (suite_sweep.own_name("e2e", OURS), OURS),
        (suite_sweep.own_name("second-cluster-of-tests", OURS), OURS),
        (f"{suite_sweep.own_name('mch', OURS)}-2", OURS),
        (f"splab{OURS}node", OURS),
        (f"spt{OURS}v1", OURS),
        ("default", None),
        ("e2e-", None),
        ("e2e-0", None),
        ("mch-abc", None),
        ("production-7", None),
        ("dark", None),
    ],
)
def test_a_name_tells_which_process_made_it(name: str, maker: int | None) -> None:
    assert suite_sweep.maker_of(name) == maker


def test_left_is_what_a_process_made_that_is_no_more() -> None:
    names = ["default", suite_sweep.own_name("e2e", 7), suite_sweep.own_name("kil", 8), "splab7pod1"]
    assert suite_sweep.left(iter(names), alive=lambda pid: pid != 7) == ["e2e-7", "splab7pod1"]


@pytest.fixture
def marked() -> Iterator[tuple[int, int]]:
    """A process that is known as ours and what it started, in a session of its own, before it was killed."""
    program = (
        "import os, subprocess, suite_sweep; suite_sweep.mark();"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True); os.read(0, 1)"
    )
    env = {**os.environ, "PYTHONPATH": os.path.dirname(suite_sweep.__file__)}  # noqa: PTH120
    maker = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    assert maker.stdout is not None and maker.stdin is not None
    left = int(maker.stdout.readline())
    try:
        yield maker.pid, left
    finally:
        maker.kill()
        maker.wait()
        maker.stdin.close()
        maker.stdout.close()
        os.kill(left, signal.SIGKILL)


def test_a_program_is_known_as_its_makers_however_far_it_went(marked: tuple[int, int]) -> None:
    maker, left = marked
    assert left not in suite_sweep.left_processes()
    assert left in suite_sweep.left_processes(alive=lambda pid: pid != maker)
