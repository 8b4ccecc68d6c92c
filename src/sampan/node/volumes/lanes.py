"""Threads for work on volumes, which waits for somebody else's program or disk: each driver's calls have a few of their
own, so that one driver that hangs holds up no other; volumes without one share some, and nothing of the node's own work
is among them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

_THREADS: Final = 8
_LANES: Final = 32
_SHARED: Final = "others"
#: of volumes that are nobody's program's: files that the node writes, and paths of the machine
_PLAIN: Final = "plain"


class Lanes:
    """Threads are made when they are first needed. Drivers beyond the number of lanes share one."""

    def __init__(self) -> None:
        self._executors: dict[str, ThreadPoolExecutor] = {}

    def executor(self, name: str) -> ThreadPoolExecutor:
        """ "": of volumes without a program."""
        name = name or _PLAIN
        if name not in self._executors and name != _PLAIN and len(self._executors) >= _LANES:
            name = _SHARED
        if name not in self._executors:
            self._executors[name] = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"volumes {name}")
        return self._executors[name]

    def close(self) -> None:
        """What has begun goes on; nothing else does."""
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)
        self._executors.clear()
