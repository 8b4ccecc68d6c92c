"""Keeps components running: one that fails is started again, alone, more and more slowly while it goes on failing.

A fault in one component (a controller that met a bad object, a loop that met a 503) ends that component for a moment
and nothing else. Only ``SystemExit`` and ``KeyboardInterrupt`` end more: they end the process.

Keepers form a tree: one that is made inside of a kept component (an informer factory's, say) is a branch of the keeper
above, its components are named after that component, and whoever looks from above sees them too.

Concurrency: one event loop, one task a component. Nothing is restarted that did not fail.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import field
from datetime import datetime
from types import TracebackType
from typing import Literal, Self

from sampan.api.clock import Clock, SystemClock
from sampan.keeping.ending import Place, at_end, current_place, inside
from sampan.keeping.words import fault_words
from sampan.records import dataclass

log = logging.getLogger(__name__)

State = Literal["running", "waiting", "done"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait with the next start: twice as long after each failure."""

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    #: one that ran this long before it failed begins with the first wait again
    healthy_seconds: float = 60.0

    def after(self, failures_in_a_row: int) -> float:
        return min(self.first_seconds * 2.0 ** min(failures_in_a_row - 1, 30), self.longest_seconds)


@dataclass(slots=True)
class Kept:
    """One component, as health, metrics and Events see it."""

    name: str
    #: ``waiting``: it failed and has not been started again yet; ``done``: it had an end, and came to it
    state: State = "running"
    failures: int = 0
    #: why it failed last, in words for users; "": it never did
    last_fault: str = ""
    failed_at: datetime | None = None
    _task: asyncio.Task[None] | None = field(default=None, repr=False)


#: Called when a component fails, and when it is started again. It must not block; what it raises is logged.
Tell = Callable[[Kept], None]


class Keeper:
    """Add components with ``keep``; ``close``, or the end of ``async with``, ends them all.

    What is not given (patience, clock) is as in the keeper above, if there is one.
    """

    def __init__(self, *, patience: Patience | None = None, clock: Clock | None = None) -> None:
        self._kept: dict[str, Kept] = {}
        self._branches: list[Keeper] = []
        self._trunk: Keeper | None = None
        self._prefix = ""
        place = current_place()
        if place is not None and isinstance(place.keeper, Keeper):
            self._grow_from(place.keeper, f"{place.component}/")
            at_end(self._leave)
        self._patience = patience or (self._trunk._patience if self._trunk else Patience())
        self._clock = clock or (self._trunk._clock if self._trunk else SystemClock())
        self._listeners: list[Tell] = []

    def branch(self) -> Keeper:
        """A keeper that may be closed earlier than this one, and whose components are seen through this one too."""
        made = Keeper(patience=self._patience, clock=self._clock)
        made._leave()
        made._grow_from(self, self._prefix)
        return made

    def listen(self, tell: Tell) -> None:
        """``tell`` hears of components of this keeper and of its branches, from now on."""
        self._listeners.append(tell)

    def _grow_from(self, trunk: Keeper, prefix: str) -> None:
        self._trunk, self._prefix = trunk, prefix
        trunk._branches.append(self)

    def _leave(self) -> None:
        if self._trunk is not None and self in self._trunk._branches:
            self._trunk._branches.remove(self)

    def root(self) -> Keeper:
        """The keeper above all others: who looks from there sees every component of the process."""
        return self if self._trunk is None else self._trunk.root()

    def __iter__(self) -> Iterator[Kept]:
        """Every component, those of branches included."""
        yield from self._kept.values()
        for branch in self._branches:
            yield from branch

    def __getitem__(self, name: str) -> Kept:
        """By its full name, as ``Kept`` has it. Raises KeyError."""
        for kept in self:
            if kept.name == name:
                return kept
        raise KeyError(name)

    def keep(self, name: str, run: Callable[[], Awaitable[object]], *, ends: bool = False) -> Kept:
        """Runs ``run()`` again and again, for it is to return only when cancelled; ``ends``: until it returns.

        Each start calls ``run`` anew: what holds state is made inside of it. ValueError: the name is taken.
        """
        if name in self._kept:
            raise ValueError(f"there is a component {name!r} already")
        kept = self._kept[name] = Kept(self._prefix + name)
        kept._task = asyncio.get_running_loop().create_task(self._keep(kept, run, ends), name=name)
        return kept

    def end(self, name: str) -> None:
        """Ends a component and forgets it; one that is not there is no error."""
        kept = self._kept.pop(name, None)
        if kept is not None and kept._task is not None:
            kept._task.cancel()

    async def close(self) -> None:
        """Ends the components, those of branches first."""
        for branch in list(self._branches):
            await branch.close()
        tasks = [kept._task for kept in self._kept.values() if kept._task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._kept.clear()
        self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _keep(self, kept: Kept, run: Callable[[], Awaitable[object]], ends: bool) -> None:
        loop = asyncio.get_running_loop()
        in_a_row = 0
        while True:
            began = loop.time()
            try:
                with inside(Place(kept.name, self)):
                    await run()
                if ends:
                    kept.state = "done"
                    self._say(kept)
                    return
                fault = "it ended by itself"
                _end_if_cancelled()
                log.error("%s ended by itself; it is started again", kept.name)
            except asyncio.CancelledError:
                _end_if_cancelled()
                # Something that it waited for was cancelled, not the component.
                fault = "what it waited for was cancelled"
                log.error("%s: %s; it is started again", kept.name, fault)
            except Exception as error:  # the failure domain: whatever a component raises ends it alone
                fault = fault_words(error)
                if _is_cancelled():
                    log.exception("%s failed while it was ended", kept.name)
                    raise asyncio.CancelledError from error
                log.exception("%s failed; it is started again", kept.name)
            if loop.time() - began >= self._patience.healthy_seconds:
                in_a_row = 0
            in_a_row += 1
            kept.failures += 1
            kept.state, kept.last_fault, kept.failed_at = "waiting", fault, self._clock.now()
            self._say(kept)
            await asyncio.sleep(self._patience.after(in_a_row))
            kept.state = "running"
            self._say(kept)

    def _say(self, kept: Kept) -> None:
        for tell in self._listeners:
            try:
                tell(kept)
            except Exception:  # who is told of components must not end them
                log.exception("the state of %s could not be told", kept.name)
        if self._trunk is not None:
            self._trunk._say(kept)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _end_if_cancelled() -> None:
    """However a component takes its cancellation, returning or failing, it is the last that happens to it."""
    if _is_cancelled():
        raise asyncio.CancelledError
