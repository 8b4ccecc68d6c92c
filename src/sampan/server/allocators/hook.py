"""The write hook of Services: takes addresses and ports before a write, settles them after it."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.server.allocators.service import Allocation, ServiceAllocator
from sampan.server.hooks import Hook, Reservation


class ServiceHook(Hook):
    """A reservation is the ``Allocation`` of one write: nothing is found by name, so no write settles another's."""

    takes = True

    def __init__(self, allocator: ServiceAllocator) -> None:
        self._allocator = allocator

    async def before_create(self, obj: Obj, *, dry_run: bool) -> Reservation:
        return await self._allocator.allocate(obj, None, dry_run=dry_run)

    async def before_update(self, new: Obj, old: Obj, *, dry_run: bool) -> Reservation:
        return await self._allocator.allocate(new, old, dry_run=dry_run)

    async def committed(self, new: Obj | None, old: Obj | None, reservation: Reservation) -> None:
        if new is not None:
            if isinstance(reservation, Allocation):
                await reservation.commit(new)
            return
        # An update that removed the last finalizer ends here, too: what it took goes with what was there.
        if isinstance(reservation, Allocation):
            await reservation.rollback()
        if old is not None:
            await self._allocator.release(old)

    async def rollback(self, new: Obj, old: Obj | None, reservation: Reservation) -> None:
        if isinstance(reservation, Allocation):
            await reservation.rollback()
