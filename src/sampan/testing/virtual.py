"""Virtual time: an event loop on which hours pass as fast as the machine can go through what happens in them.

``run(coroutine)`` runs it so; with a ``VirtualTimeline`` as the clock of every component, times of day agree with
durations, and a whole cluster without sockets (``Cluster(listen=False)``) lives in virtual time. Time stands still
while anything is ready to run, and jumps to the next timer when nothing is. What a thread of the loop's executor does
takes no time. Sockets and other programs are not waited for: they have no place here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0
        self._in_threads = 0
        self._select = self._selector.select  # type: ignore[attr-defined]  # the loop's own selector
        self._selector.select = self._jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._passed

    def run_in_executor(  # type: ignore[override]  # typeshed's result is a coroutine's future of any kind
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    def _jump(self, timeout: float | None = None) -> Any:
        """Instead of waiting for so long: time passes at once, unless a thread is still at work."""
        if timeout is None or (self._in_threads and timeout):
            return self._select(None)
        events = self._select(0)
        if not events:
            self._passed += timeout
        return events


def run(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, in virtual time that begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
