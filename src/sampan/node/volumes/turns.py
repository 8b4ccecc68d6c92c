"""One thread at a time for each directory: who waits for one waits for nobody who works on another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """Invariant: there is a lock for each directory that somebody has or waits for, and for no other."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Path, tuple[threading.Lock, int]] = {}

    @contextmanager
    def alone(self, directory: Path) -> Iterator[None]:
        with self._guard:
            lock, asking = self._locks.get(directory) or (threading.Lock(), 0)
            self._locks[directory] = lock, asking + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, asking = self._locks[directory]
                if asking == 1:
                    del self._locks[directory]
                else:
                    self._locks[directory] = lock, asking - 1
