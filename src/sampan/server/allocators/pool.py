"""A pool of numbers with owners: what cluster IPs and node ports have in common. Runs on the event loop.

Which numbers look free is asked of the cache of records; whose a number becomes is decided by creating its record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from sampan.api.clock import Random
from sampan.server.allocators.records import AlreadyAllocated, Owner, Records, Taken
from sampan.server.allocators.spans import Span

#: lost races after which the cache is waited for, before it sends us to more numbers that are long gone
_PATIENCE = 16


class Full(Exception):
    """Nothing is left."""


class Pool:
    """``spans`` are asked anew each time: ranges may be added. ``reserved``: numbers that only one Service may have."""

    def __init__(
        self,
        records: Records,
        spans: Callable[[], Sequence[Span]],
        name: Callable[[int], str],
        random: Random,
        reserved: dict[int, Owner] | None = None,
    ) -> None:
        self.records, self._spans, self.name, self._random = records, spans, name, random
        self._reserved = reserved or {}

    async def take(self, number: int, owner: Owner, *, dry_run: bool) -> Taken | None:
        """None: nothing to give back, because it is a dry run or the number is the owner's for good.

        Raises AlreadyAllocated, StoreUnavailable.
        """
        name, for_good = self.name(number), self._reserved.get(number)
        if for_good not in (None, owner):
            raise AlreadyAllocated(for_good)
        try:
            if dry_run:
                await self.records.check_free(name)
                return None
            taken = await self.records.take(name, owner)
        except AlreadyAllocated as error:
            if for_good is not None and error.owner == owner:
                return None  # it may be there already: nobody else could have it
            raise
        return None if for_good is not None else taken

    async def take_any(self, owner: Owner, avoid: Collection[int], *, dry_run: bool) -> tuple[int, Taken | None]:
        """A free number that is not in ``avoid``. Raises Full, StoreUnavailable."""
        found = await self._take_any(owner, avoid, dry_run)
        if found is None:
            # Full, says a cache that may be behind.
            await self.records.catch_up()
            found = await self._take_any(owner, avoid, dry_run)
        if found is None:
            raise Full
        return found

    async def _take_any(self, owner: Owner, avoid: Collection[int], dry_run: bool) -> tuple[int, Taken | None] | None:
        lost = 0
        for span in self._spans():
            for number in span.candidates(self._random, self._looks_taken):
                if number is None:
                    await asyncio.sleep(0)
                    continue
                if number in avoid or number in self._reserved:
                    continue
                try:
                    return number, await self.take(number, owner, dry_run=dry_run)
                except AlreadyAllocated:  # somebody was faster: another one
                    lost += 1
                    if lost % _PATIENCE == 0:
                        await self.records.catch_up()
        return None

    async def release(self, number: int, owner: Owner) -> None:
        """Idempotent; a number that belongs to somebody else stays theirs. Raises StoreUnavailable."""
        if number not in self._reserved:
            await self.records.release(self.name(number), owner)

    def is_reserved(self, number: int) -> bool:
        return number in self._reserved

    def is_in_range(self, number: int) -> bool:
        return any(number in span for span in self._spans())

    def _looks_taken(self, number: int) -> bool:
        return self.records.looks_taken(self.name(number))
