"""What killed runs left is known as theirs, and nothing else is."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def test_left_is_what_a_process_of_tests_made_that_is_no_more() -> None:
    names = ["default", suite_sweep.own_name("e2e", 7), suite_sweep.own_name("kil", 8), "splab7pod1"]
    assert suite_sweep.left(names, {7, 8}, alive=lambda pid: pid != 7) == ["e2e-7", "splab7pod1"]


@pytest.mark.parametrize("name", ["e2e-dev", "adm-prod", "kil-2", "dark1"])
def test_a_name_that_somebody_chose_is_not_taken_for_the_tests(name: str) -> None:
    maker = suite_sweep.maker_of(name)
    assert maker is not None
    assert suite_sweep.left([name], set(), alive=lambda pid: False) == []
    assert suite_sweep.left([name], {maker}, alive=lambda pid: False) == [name]


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of instances; what others left on this machine is none of this test's."""
    monkeypatch.setattr(suite_sweep, "_ROOTS", (tmp_path / "instances",))
    monkeypatch.setattr(suite_sweep, "NETNS", tmp_path / "netns")
    monkeypatch.setattr(suite_sweep, "NOTES", tmp_path / "notes")
    monkeypatch.setattr(suite_sweep, "left_processes", list)
    monkeypatch.setattr(suite_sweep, "lives", lambda pid: pid == os.getpid())
    monkeypatch.setattr(suite_sweep, "left", functools.partial(suite_sweep.left, alive=lambda pid: pid == os.getpid()))
    monkeypatch.setenv(suite_sweep._MARK, "")
    (tmp_path / "instances").mkdir()
    return tmp_path / "instances"


def test_a_process_is_known_until_nothing_of_it_is_left(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite_sweep.mark()
    instance = alone / suite_sweep.own_name("e2e", OURS)
    instance.mkdir()
    (alone / "e2e-dev").mkdir()
    (suite_sweep.NOTES / str(OURS)).touch()
    monkeypatch.setattr(suite_sweep, "purge", lambda name: None)  # it failed
    assert suite_sweep.sweep() == [instance.name]
    assert suite_sweep.noted() == {OURS, os.getpid()}
    monkeypatch.setattr(suite_sweep, "purge", lambda name: (alone / name).rmdir())
    assert suite_sweep.sweep() == [instance.name]
    assert suite_sweep.noted() == {os.getpid()}
    assert suite_sweep.sweep() == []
    assert (alone / "e2e-dev").is_dir()


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
