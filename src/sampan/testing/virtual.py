"""Virtual time: an event loop on which hours pass as fast as the machine can go through what happens in them.

``run(coroutine)`` runs it so; with a ``VirtualTimeline`` as the clock of every component, times of day agree with
durations, and a whole cluster without sockets (``Cluster(listen=False)``) lives in virtual time. Time stands still
while anything is ready to run, and jumps to the next timer when nothing is. What is a thread's work elsewhere is done
at once, in its place. Sockets and other programs are not waited for: they have no place here.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

#: within this, timers of one moment come in an order of chance
_SAME_MOMENT_SECONDS = 1e-6


class VirtualLoop(asyncio.SelectorEventLoop):
    """``seed``: timers that are due at one moment come in an order that it decides; None: as they were set."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self._passed = 0.0
        self._order = random.Random(seed) if seed is not None else None
        self._select = self._selector.select  # type: ignore[attr-defined]  # the loop's own selector
        self._selector.select = self._jump  # type: ignore[attr-defined]
        #: no jump goes beyond it: what is to happen later waits
        self.horizon = math.inf
        #: called when all is done that is to happen up to the horizon
        self.at_rest: Callable[[], None] | None = None
        #: seconds until something will happen, when the loop was last at rest; None: nothing will
        self.rests_for: float | None = None

    def time(self) -> float:
        return self._passed

    def call_at(  # type: ignore[override]  # typeshed ties the arguments to the callback's
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if self._order is not None:
            when += _SAME_MOMENT_SECONDS * self._order.random()
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # typeshed's result is a coroutine's future of any kind
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # it is the caller's, as a thread's would be
            future.set_exception(error)
        return future

    def _jump(self, timeout: float | None = None) -> Any:
        """Instead of waiting for so long: time passes at once."""
        events = self._select(0)
        if events or timeout == 0:
            return events
        if timeout is not None and self._passed + timeout <= self.horizon:
            self._passed += timeout
        elif self._passed < self.horizon < math.inf:
            self._passed = self.horizon
        elif self.at_rest is not None:
            self.rests_for = timeout
            self.at_rest()
        else:
            return self._select(None)  # only another thread can wake it now
        return events


def run(work: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """As ``asyncio.run``, in virtual time that begins at 0."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(work)
