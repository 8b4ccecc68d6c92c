"""Gives memory back that was needed once: what churn leaves free inside the process does not return by itself.

A server that was busy holds, for each burst, pages of which the allocator uses little or nothing. ``Footprint.run`` is
a background loop of the process that owns the store; an idle process is left alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from sampan import resident
from sampan.store.protocol import Store, StoreError

log = logging.getLogger(__name__)

#: often enough that there is little to give back each time: while it happens, large allocations wait
INTERVAL_SECONDS: Final = 10.0
#: so much processor time since the last time: the process has done something
_BUSY_SECONDS: Final = 0.2


class Footprint:
    """``forget`` lets go of what others keep and nobody asks for. ``trim`` and ``used_seconds`` (processor time of the
    process so far) are for tests."""

    def __init__(
        self,
        store: Store,
        *,
        forget: Callable[[], None] = lambda: None,
        interval_seconds: float = INTERVAL_SECONDS,
        trim: Callable[[], None] = resident.trim,
        used_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._store = store
        self._interval = interval_seconds
        self._forget = forget
        self._trim = trim
        self._used_seconds = used_seconds
        self._seen = used_seconds()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(self._interval)
            self._forget()
            await self.give_back()

    async def give_back(self) -> bool:
        """Whether there was reason to."""
        if self._used_seconds() - self._seen < _BUSY_SECONDS:
            return False
        try:
            await self._store.shrink()
        except StoreError as error:  # a closed or full store holds little
            log.debug("the store keeps its caches: %s", error)
        await asyncio.to_thread(self._trim)
        self._seen = self._used_seconds()
        return True
