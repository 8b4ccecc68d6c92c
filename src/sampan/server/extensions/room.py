"""Who makes definitions waits while many that are there already are not served yet.

Otherwise a flood of them takes the processor from what serves them, and those made first are established last. The
answer of a creation comes later instead, and what it made is served soon after.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sampan.api.types import Obj
from sampan.server.hooks import Hook, Reservation

#: definitions that may wait to be served, those about to be stored counted
LIMIT: Final = 16
#: that a creation waits: what serves definitions may have failed, and is started again
LONGEST_WAIT_SECONDS: Final = 5.0


class Room:
    """Invariant: whoever waits does so because ``backlog() + entering`` has reached the limit."""

    def __init__(self, backlog: Callable[[], int], limit: int = LIMIT, seconds: float = LONGEST_WAIT_SECONDS) -> None:
        """``backlog``: how many are stored and not served."""
        self._backlog, self._limit, self._seconds = backlog, limit, seconds
        self._entering = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Returns when there is room, and after some seconds in any case. ``leave`` has to follow."""
        if not self._waiting and self._has_room():
            self._entering += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=self._seconds)
        except asyncio.CancelledError:
            if turn.done():
                self.leave()
            else:
                self._waiting.remove(turn)
            raise
        if not turn.done():  # it has waited long enough
            self._waiting.remove(turn)
            self._entering += 1

    def leave(self) -> None:
        """What was to be stored is, and counts in the backlog; or it will not be."""
        self._entering -= 1
        self.let_in()

    def let_in(self) -> None:
        """To be called when the backlog has become shorter."""
        while self._waiting and self._has_room():
            self._entering += 1
            self._waiting.popleft().set_result(None)

    def _has_room(self) -> bool:
        return self._backlog() + self._entering < self._limit


class RoomForDefinitions(Hook):
    """The write hook of CustomResourceDefinitions."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def before_create(self, obj: Obj, *, dry_run: bool) -> Reservation:
        if dry_run:
            return None
        await self._room.enter()
        return self._room

    async def committed(self, new: Obj | None, old: Obj | None, reservation: Reservation) -> None:
        if reservation is not None:
            self._room.leave()

    async def rollback(self, new: Obj, old: Obj | None, reservation: Reservation) -> None:
        if reservation is not None:
            self._room.leave()
