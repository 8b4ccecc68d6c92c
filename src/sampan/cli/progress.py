"""Progress on a terminal: a line a step, with the time it took; on a pipe the same without control characters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Steps:
    """Implements ``cluster.up.Progress``. ``step`` ends the step before it."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._began = self._told = 0.0
        self._terminal = sys.stdout.isatty()

    def step(self, text: str) -> None:
        self.done()
        self._text, self._began = text, time.monotonic()
        if self._terminal:
            print(f" … {text}", end="", flush=True)

    def count(self, done: int, total: int) -> None:
        """How far the present step is; ``total`` 0: unknown. On a terminal ten times a second, elsewhere every five
        seconds, however often it is called."""
        now = time.monotonic()
        if self._text is None or now - self._told < (0.1 if self._terminal else 5.0):
            return
        self._told = now
        text = f" … {self._text}: {done:,}" + (f" of {max(done, total):,}" if total else "")
        print(f"\r{text}" if self._terminal else text, end="" if self._terminal else "\n", flush=True)

    def warn(self, text: str) -> None:
        self.done()
        print(f" ! {text}")

    def done(self, mark: str = "✓") -> None:
        if self._text is None:
            return
        took = time.monotonic() - self._began
        start = "\r\033[K" if self._terminal else ""
        print(f"{start} {mark} {self._text} ({took:.1f} s)", flush=True)
        self._text = None


@contextmanager
def steps() -> Iterator[Steps]:
    """Steps that end with a cross when the block raises."""
    shown = Steps()
    try:
        yield shown
    except BaseException:
        shown.done("✗")
        raise
    shown.done()
