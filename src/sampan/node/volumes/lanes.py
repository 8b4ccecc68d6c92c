"""Threads for work on volumes, which waits for somebody else's program or disk: each driver's calls have a few of their
own, so that one driver that hangs holds up no other; pods with paths of the machine share some, and those whose volumes
are files that the node writes share others. Nothing of the node's own work is among them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_THREADS: Final = 8
_LANES: Final = 32
_SHARED: Final = "others"
#: of files that the node writes
_PLAIN: Final = "plain"
#: of paths of the machine, where anything may be mounted, and hang; no driver is called so
PATHS: Final = "paths of the machine"


def of_pod(names: Iterable[str]) -> str:
    """Of those of a pod's volumes: a driver's before that of paths; "": they are all files that the node writes."""
    found = [name for name in names if name]
    return next((name for name in found if name != PATHS), PATHS if found else "")


class Lanes:
    """Threads are made when they are first needed. Drivers beyond the number of lanes share one."""

    def __init__(self) -> None:
        self._executors: dict[str, ThreadPoolExecutor] = {}

    def executor(self, name: str) -> ThreadPoolExecutor:
        """ "": of files that the node writes."""
        name = name or _PLAIN
        if name not in self._executors and name not in (_PLAIN, PATHS) and len(self._executors) >= _LANES:
            name = _SHARED
        if name not in self._executors:
            self._executors[name] = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"volumes {name}")
        return self._executors[name]

    def close(self) -> None:
        """What has begun goes on; nothing else does."""
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)
        self._executors.clear()
