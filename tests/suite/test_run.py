"""A run that is interrupted ends, and leaves nothing at work."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import suite_repeat
import suite_sweep

_SUITE = Path(suite_sweep.__file__).parent
#: a test that starts a program which outlives it, and hangs
_HANGS = """
import os, subprocess, sys
sys.path.insert(0, {suite!r})
import suite_sweep

def test_it():
    suite_sweep.mark()
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open({told!r}, "w") as told:
        print(left.pid, file=told)
    left.wait()
"""
#: nothing of this process's pytest is needed in those within
_ENV = {**os.environ, "PYTHONPATH": str(_SUITE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
#: what other runs left on this machine is none of this test's
_ALONE = "import pathlib, suite_sweep; suite_sweep._ROOTS, suite_sweep.NETNS = (), pathlib.Path('/nowhere')\n"
_RUN = (
    f"{_ALONE}import sys, suite_run\n"
    "with suite_run.interruptible(int(sys.argv.pop())) as run: sys.exit(run(sys.argv[1:]))"
)
#: a shell that begins a check, tells of it and becomes the program that runs the tests, as scripts/test does
_BESIDE = 'sleep 600 >/dev/null 2>&1 & echo $!; exec "$@" $!'


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Path]:
    """A pipe: it is read until the test has begun."""
    path = tmp_path / "told"
    os.mkfifo(path)
    yield path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_all_that_it_started(tmp_path: Path, told: Path, number: signal.Signals) -> None:
    file = tmp_path / "test_hangs.py"
    file.write_text(_HANGS.format(suite=str(_SUITE), told=str(told)))
    # pytest's own marks are this process's: the program's is that of the pytest within.
    run = subprocess.Popen(
        ["sh", "-c", _BESIDE, "sh", sys.executable, "-c", _RUN, "-p", "no:cacheprovider", "-c", os.devnull, str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_ENV,
    )  # fmt: skip
    assert run.stdout is not None
    check = int(run.stdout.readline())
    try:
        with told.open() as reading:
            left = int(reading.read())
        run.send_signal(number)
        said, _ = run.communicate()
        assert run.returncode == 128 + number, said
        assert not suite_sweep.lives(left), said
        assert not suite_sweep.lives(check), said
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(check, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_ends_what_goes_on_beside_it(tmp_path: Path, told: Path, number: signal.Signals) -> None:
    checks = tmp_path / "checks"
    os.mkfifo(checks)
    programs = {
        "scripts/setup": "#!/bin/sh\n",
        "scripts/test": (_SUITE.parents[1] / "scripts/test").read_text(),
        ".venv/bin/python": f"#!/bin/sh\necho $$ >{told}; exec sleep 600\n",
        ".venv/bin/ruff": f"#!/bin/sh\necho on >{checks}; exec sleep 600\n",
    }
    for name, text in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    run = subprocess.Popen([tmp_path / "scripts/test"], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        collecting = os.pidfd_open(int(told.read_text()))
        checks.read_text()
        os.killpg(run.pid, number)  # as a terminal does
        assert run.wait() == 128 + number
        assert select.select([collecting], [], [], 20.0)[0], "what goes on beside the checks was not ended"
        os.close(collecting)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


OUTPUT = """
FAILED tests/a.py::test_x[1] - AssertionError: assert 1 == 2
ERROR tests/b.py::test_y
2 failed, 10 passed, 1 error in 12.30s
"""


def test_what_a_run_said_is_read_from_its_output() -> None:
    red = suite_repeat.outcome(2, 1, 12.4, OUTPUT)
    assert red.failed == ("tests/a.py::test_x[1]", "tests/b.py::test_y")
    assert suite_repeat.line(red, 10) == "run 2 of 10: RED, 12 s: 2 failed, 10 passed, 1 error in 12.30s"


def test_the_end_says_which_test_failed_in_which_run() -> None:
    green = suite_repeat.outcome(1, 0, 9.0, "= 11 passed in 9.00s =")
    red = [suite_repeat.outcome(number, 1, 9.0, OUTPUT) for number in (2, 3)]
    assert list(suite_repeat.summary([green, *red])) == [
        "1 of 3 runs were green",
        "  tests/a.py::test_x[1]: in run 2, 3",
        "  tests/b.py::test_y: in run 2, 3",
    ]


def test_a_run_that_told_of_no_test_is_red_all_the_same() -> None:
    assert suite_repeat.line(suite_repeat.outcome(1, 3, 0.2, "INTERNALERROR"), 1) == (
        "run 1 of 1: RED, 0 s: ended with 3 and told of no test"
    )


@pytest.mark.parametrize(("check", "expected"), [("exit 0", 0), ("exit 1", 1)])
def test_a_check_beside_the_tests_has_its_say_though_it_ends_after_them(
    tmp_path: Path, check: str, expected: int
) -> None:
    file = tmp_path / "test_passes.py"
    file.write_text("def test_it() -> None: ...\n")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # The shell begins the check and becomes the process that runs the tests; that opens the gate when they are through.
    shell = f'{{ read line <{gate}; {check}; }} & exec "$@" $!'
    program = (
        f"{_ALONE}import sys, suite_run\n"
        f"run = suite_run.Run(int(sys.argv[-1])); tell = run._tell\n"
        f"run._tell = lambda swept: (tell(swept), run._process and open({str(gate)!r}, 'w').write('on\\n'))\n"
        f"sys.exit(run(['-p', 'no:cacheprovider', '-c', {os.devnull!r}, {str(file)!r}]))"
    )
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", program],
        capture_output=True, text=True, env=_ENV, check=False,
    )  # fmt: skip
    assert done.returncode == expected, done.stdout + done.stderr
