"""The numbers of one program, and which program's code is running.

Parts that count (queues, transports, controllers) ask for the ``current`` registry when they are made; whoever runs a
program says by ``use`` which that is. So several programs in one process do not mix, and no part is handed a registry
through ten others. Without a program there is one of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from sampan.metrics.families import Family


class Source(Protocol):
    name: str

    def family(self) -> Family: ...


S = TypeVar("S", bound=Source)
#: makes metrics of a copy of the numbers, in any thread
Build = Callable[[], Iterable[Family]]


class Registry:
    """Invariant: one source a name, in the order in which they were first asked for."""

    def __init__(self, queue_names: Mapping[str, str] | None = None) -> None:
        """``queue_names``: what work queues are called here, by the names that they were given."""
        self.queue_names: Mapping[str, str] = queue_names or {}
        self._sources: dict[str, Source] = {}
        #: called before the numbers are copied: what has to be looked at, not counted
        self._looks: list[Callable[[], None]] = []

    def of(self, name: str, make: Callable[[], S]) -> S:
        """The source of this name, made by the first who asks for it: a component that starts anew counts on."""
        found = self._sources.get(name)
        if found is None:
            found = self._sources[name] = make()
        return found  # type: ignore[return-value]  # a name has one type

    def look(self, at: Callable[[], None]) -> Callable[[], None]:
        """``at`` is called at each scrape; returns what ends that."""
        self._looks.append(at)

        def end() -> None:
            if at in self._looks:
                self._looks.remove(at)

        return end

    def copy(self) -> Build:
        for look in list(self._looks):
            look()
        families = [source.family() for source in self._sources.values()]
        return lambda: families


_process = Registry()
_current: ContextVar[Registry] = ContextVar("metrics registry", default=_process)


def current() -> Registry:
    return _current.get()


@contextmanager
def use(registry: Registry) -> Iterator[None]:
    """Inside, and in tasks that are started there, it is the current one."""
    token = _current.set(registry)
    try:
        yield
    finally:
        _current.reset(token)
