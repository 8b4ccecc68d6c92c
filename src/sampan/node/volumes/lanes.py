"""Threads for work that waits for somebody else's program: each driver's calls have a few of their own, so that one
driver that hangs holds up no other, and nothing of the node's own."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_THREADS: Final = 8
_LANES: Final = 16


class Lanes:
    """Threads are made when they are first needed. More drivers than lanes share them."""

    def __init__(self) -> None:
        self._executors: dict[int, ThreadPoolExecutor] = {}

    def executor(self, name: str) -> ThreadPoolExecutor | None:
        """ "": the event loop's own threads."""
        if not name:
            return None
        number = zlib.crc32(name.encode()) % _LANES
        if number not in self._executors:
            self._executors[number] = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"volumes-{number}")
        return self._executors[number]

    def close(self) -> None:
        """What has begun goes on; nothing else does."""
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)
        self._executors.clear()
