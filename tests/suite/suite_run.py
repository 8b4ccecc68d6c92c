"""Runs pytest so that nothing of it stays behind: ``suite_run.py PROCESS PYTEST-ARGUMENTS``, by scripts/test.

Before and after it what killed runs left is removed (``suite_sweep``). SIGINT and SIGTERM end the run, whoever gets
them: pytest is interrupted once, has its time to tell what it knows, and all its processes end with it. A second
signal does not wait for that. PROCESS is a check that goes on beside the tests, and ends them where it fails (0: none).
Several runs one after another, beside load: ``suite_repeat``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import IO

import suite_sweep

#: what an interrupted run may take to end its tests and tell of them
GRACE_SECONDS = 60.0


class Beside:
    """A check that goes on beside the tests: a child of the shell that became this process. Where it fails it ends
    them."""

    def __init__(self, pid: int) -> None:
        self._pid, self._code = pid, None if pid else 0

    def failed(self, *, wait: bool = False) -> bool:
        """So far, or at all."""
        if self._code is None:
            ended, status = os.waitpid(self._pid, 0 if wait else os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
        return bool(self._code)

    def end(self) -> None:
        """Without its result, unless it has one."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):  # waited for just now, by whom this interrupts
                os.kill(self._pid, signal.SIGTERM)


class Run:
    """One pytest in a session of its own, so that a terminal's Ctrl-C reaches it once, and by us."""

    def __init__(self, beside: int = 0) -> None:
        """``beside``: the process of a check."""
        self.interrupted: signal.Signals | None = None
        self._beside = Beside(beside)
        self._process: subprocess.Popen[bytes] | None = None

    def interrupt(self, number: int, frame: FrameType | None = None) -> None:
        """A handler of signals."""
        again, self.interrupted = self.interrupted is not None, signal.Signals(number)
        self._beside.end()
        if self._process is not None:
            self._signal_all(signal.SIGKILL) if again else self._process.send_signal(signal.SIGINT)

    def __call__(self, arguments: Sequence[str], output: IO[bytes] | None = None) -> int:
        """pytest's exit code; 130 or 143 where a signal ended it, and 1 where the check beside it failed."""
        self._tell(suite_sweep.sweep())
        command = [sys.executable, "-m", "pytest", *arguments]
        self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        if self.interrupted is not None:  # before there was anything to interrupt
            self._process.send_signal(signal.SIGINT)
        try:
            code = self._wait()
        finally:
            self._signal_all(signal.SIGKILL)
            self._process.wait()
            if self.interrupted is not None:
                print("removing what the interrupted tests had made", flush=True)
            self._tell(suite_sweep.sweep())
        failed = self._beside.failed(wait=True)  # at once where it was interrupted, maybe meanwhile
        return 128 + self.interrupted if self.interrupted is not None else code or failed

    def _wait(self) -> int:
        assert self._process is not None
        while self.interrupted is None and not self._beside.failed():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(1.0)
        if self.interrupted is None:
            print("a check beside the tests failed: they are ended", flush=True)
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return 1

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    @staticmethod
    def _tell(swept: Sequence[str]) -> None:
        for what in swept:
            print(f"removed what a killed run left: {what}", flush=True)


@contextlib.contextmanager
def interruptible(beside: int = 0) -> Iterator[Run]:
    """SIGINT and SIGTERM of this process interrupt the run."""
    run = Run(beside)
    before = {number: signal.signal(number, run.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield run
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def distributed(arguments: Sequence[str]) -> list[str]:
    """Two more at a time than there are processors, at most six: three of them have a cluster each (``suite_sharing``:
    real programs, real containers) and wait more than they compute."""
    processes = min((os.cpu_count() or 1) + 2, 6)
    return ["--numprocesses", str(processes), "--dist", "loadscope", "--no-loadscope-reorder", *arguments]


def main(beside: int, arguments: Sequence[str]) -> int:
    with interruptible(beside) as run:
        return run(distributed(arguments))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
