"""The tests again and again beside other work: ``make test-repeat RUNS=10 LOAD=2``; what fails once in ten is found.

``suite_repeat.py RUNS LOAD DIRECTORY PYTEST-ARGUMENTS``: so many runs, beside so many ``yes`` processes. Each run's
output goes to a file of its own in the directory, a line tells of it when it is through, and the end says which tests
failed in which run. A red run ends nothing: all are run. The exit code is 1 if any was red.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import suite_run

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", re.MULTILINE)
_LAST = re.compile(r"^=*\s*(\d+ (?:passed|failed|skipped|error).*? in [\d.]+s.*?)\s*=*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``said``: pytest's last line."""

    number: int
    code: int
    seconds: float
    said: str
    failed: tuple[str, ...]


def outcome(number: int, code: int, seconds: float, output: str) -> Outcome:
    lines = _LAST.findall(output)
    said = lines[-1] if lines else f"ended with {code} and told of no test"
    return Outcome(number, code, seconds, said, tuple(dict.fromkeys(_FAILED.findall(output))))


def line(of: Outcome, runs: int) -> str:
    return f"run {of.number} of {runs}: {'green' if of.code == 0 else 'RED'}, {of.seconds:.0f} s: {of.said}"


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    red = [each for each in outcomes if each.code]
    yield f"{len(outcomes) - len(red)} of {len(outcomes)} runs were green"
    where: defaultdict[str, list[int]] = defaultdict(list)
    for each in red:
        for test in each.failed:
            where[test].append(each.number)
    for test, numbers in sorted(where.items(), key=lambda entry: -len(entry[1])):
        yield f"  {test}: in run {', '.join(map(str, numbers))}"


@contextlib.contextmanager
def beside(load: int) -> Iterator[None]:
    made = [subprocess.Popen(["yes"], stdout=subprocess.DEVNULL) for _ in range(load)]
    try:
        yield
    finally:
        for each in made:
            each.kill()
            each.wait()


def repeat(runs: int, load: int, directory: Path, arguments: Sequence[str]) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    with suite_run.interruptible() as run, beside(load):
        for number in range(1, runs + 1):
            file, began = directory / f"run-{number}.log", time.monotonic()
            with file.open("wb") as output:
                code = run(suite_run.distributed(arguments), output)
            if run.interrupted is not None:
                break
            outcomes.append(outcome(number, code, time.monotonic() - began, file.read_text(errors="replace")))
            print(line(outcomes[-1], runs), flush=True)
    print("\n".join(summary(outcomes)), f"\nwhat they said: {directory}", flush=True)
    return 1 if run.interrupted is not None or any(each.code for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(repeat(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
