"""Where code runs: in which kept component. What it leaves with others is taken back when the component ends.

A component that is started again registers anew (handlers of shared informers, subscriptions). What its predecessor
registered must go, or each restart would leave a dead one that is still told of everything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import field

from sampan.records import dataclass

log = logging.getLogger(__name__)

Undo = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Place:
    """One run of a kept component; tasks that it starts inherit it. ``keeper`` is the one that runs it."""

    component: str
    keeper: object
    undos: list[Undo] = field(default_factory=list)


_place: ContextVar[Place | None] = ContextVar("sampan.keeping.place", default=None)


def current_place() -> Place | None:
    return _place.get()


def at_end(undo: Undo) -> None:
    """Calls ``undo`` when the kept component that runs this code ends. Outside of any: it is never called.

    It may be called though it was undone by hand before, and must not mind.
    """
    place = _place.get()
    if place is not None:
        place.undos.append(undo)


class inside:  # noqa: N801 -- it is used as a function
    """Inside, ``at_end`` collects; at the end all that is undone, the last first. A class: each component of thousands
    of nodes is inside of one as long as it runs, and a generator is three times as large."""

    __slots__ = ("_place", "_token")

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> None:
        self._token = _place.set(self._place)

    def __exit__(self, *raised: object) -> None:
        _place.reset(self._token)
        place = self._place
        while place.undos:
            undo = place.undos.pop()
            try:
                undo()
            except Exception:  # the others' registrations are taken back all the same
                log.exception("%s: what it registered could not be taken back", place.component)
