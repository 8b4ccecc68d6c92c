"""Where listeners come from: the seam between who knows objects (Ingress, Gateway API) and who serves them.

A source follows its objects and tells the board that something changed; asked, it gives its listeners; told what is
served, it writes statuses and Events. Nothing of it runs on anything but the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol

from sampan.edge.model import Endpoint, Listener, Owner
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Served:
    """What became of the listeners. ``missing``: why nothing is served at all, in words for users; "": it is."""

    problems: Mapping[Owner, Sequence[str]] = field(default_factory=dict)
    missing: str = ""


class Source(Protocol):
    @property
    def name(self) -> str: ...

    async def run(self, board: Board) -> None:
        """Follows its objects until cancelled. Nothing is served before every source has said ``changed`` once."""

    async def listeners(self) -> Sequence[Listener]:
        """As of now. Long work is done in a thread, or in steps."""

    async def served(self, served: Served) -> None:
        """After its listeners were taken. A fault is logged, and costs this source its turn."""


class Board:
    """What changed since the last look; many changes are one."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._full = False
        self._moves: dict[str, tuple[Endpoint, ...]] = {}
        self._news = asyncio.Event()

    def changed(self, source: str = "") -> None:
        """The listeners of a source may be others now."""
        self._said.add(source)
        self._full = True
        self._news.set()

    def moved(self, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> None:
        """Nothing changed but endpoints of these back ends."""
        self._moves |= endpoints
        self._news.set()

    def has_said(self, source: str) -> bool:
        return source in self._said

    async def news(self) -> None:
        await self._news.wait()

    def take(self) -> tuple[bool, dict[str, tuple[Endpoint, ...]]]:
        """Whether listeners changed, and which endpoints did; from now on, nothing has."""
        taken = self._full, self._moves
        self._full, self._moves = False, {}
        self._news.clear()
        return taken
