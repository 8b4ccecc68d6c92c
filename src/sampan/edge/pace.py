"""Long work on the event loop, in steps."""

from __future__ import annotations

import asyncio

_STEP_SECONDS = 0.005


class Pace:
    """``breathe`` between steps: everybody else has a turn after some milliseconds of them."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._until = self._time() + _STEP_SECONDS

    async def breathe(self) -> None:
        if self._time() > self._until:
            await asyncio.sleep(0)
            self._until = self._time() + _STEP_SECONDS
