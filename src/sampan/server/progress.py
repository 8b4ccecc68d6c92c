"""How far this server is behind a store that other servers write too: it catches up when an answer hangs on it, and
knows when it hears of nothing any more.

* What a cache may not know yet is no reason to refuse: before a 403, or a 404 for a resource that is not served, the
  caches see what was committed before (``catch_up``).
* A resource in which nothing happens makes progress all the same, so that bookmarks of its watches do not fall behind
  what the store still has.
* A server that has not heard of its store for ``LOST_SECONDS`` does not know what was revoked since: it answers nobody,
  ends its watches and is not ready, until it hears again. Clients with a list of servers go to another one.

Where this process alone writes its store there is nothing to do, and none of it is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from sampan.api.errors import ServiceUnavailable
from sampan.server.surface import Surfaces
from sampan.store.protocol import Store, StoreError

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 5.0
#: what one look at the store may take
LOOK_SECONDS: Final = 5.0
LOST_SECONDS: Final = 30.0


class Progress:
    """Invariant: ``_heard_at`` is a moment at which all that was committed was known here."""

    def __init__(self, store: Store, surfaces: Surfaces, lost: Callable[[], None]) -> None:
        """``lost`` is called once each time that the store is lost."""
        self._store, self._surfaces, self._tell_lost = store, surfaces, lost
        self._heard_at = asyncio.get_running_loop().time()
        self._lost = False
        self._looking: asyncio.Task[None] | None = None
        #: the look after the one under way, which those wait for who came after that had begun
        self._next: asyncio.Task[None] | None = None

    @property
    def fault(self) -> str | None:
        """Why this server is not to be believed; None: it is."""
        if not self._lost:
            return None
        silent = asyncio.get_running_loop().time() - self._heard_at
        return f"the store has not been heard of for {silent:.0f} s"

    def check(self) -> None:
        """Raises ServiceUnavailable."""
        if self._lost:
            raise ServiceUnavailable(f"this API server answers nobody: {self.fault}", retry_after_seconds=1)

    async def run(self) -> NoReturn:
        """Looks now and then, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.catch_up()
            except (StoreError, TimeoutError) as error:
                if not self._lost and asyncio.get_running_loop().time() - self._heard_at > LOST_SECONDS:
                    self._lost = True
                    log.error("%s (%s): no request is answered until it is", self.fault, error or "no answer")
                    self._tell_lost()

    async def catch_up(self) -> None:
        """Returns once every cache shows what was committed before the call. Raises StoreUnavailable, TimeoutError.

        Many at the same time cost the store one question."""
        looking = self._next
        if looking is None:
            looking = asyncio.get_running_loop().create_task(self._after(self._looking), name="catch up with the store")
            if self._looking is not None:
                self._next = looking
            else:
                self._looking = looking
            looking.add_done_callback(self._looked)
        await asyncio.shield(looking)

    def _looked(self, done: asyncio.Task[None]) -> None:
        if self._looking is done:
            self._looking, self._next = self._next, None
        if not done.cancelled():
            done.exception()  # who waited for it was told; perhaps nobody waits any more

    async def _after(self, other: asyncio.Task[None] | None) -> None:
        if other is not None:
            await asyncio.wait([other])
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(LOOK_SECONDS):
            revision = await self._store.sync()
        for storage in self._surfaces.current.storages():
            storage.cache.advance(revision)
        self._heard_at = max(self._heard_at, began)
        if self._lost:
            self._lost = False
            log.info("the store is heard of again")

    def close(self) -> None:
        for task in (self._looking, self._next):
            if task is not None:
                task.cancel()
