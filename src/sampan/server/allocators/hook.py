"""The write hook of Services: takes addresses and ports before a write, settles them after it.

Registered by ``app`` for (core, services). Start it with ``ServiceAllocator.load`` of the stored Services.
"""

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
        return self._allocator.on_create(obj)

    async def before_update(self, new: Obj, old: Obj, *, dry_run: bool) -> Reservation:
        return self._allocator.on_update(new, old)

    async def committed(self, new: Obj | None, old: Obj | None, reservation: Reservation) -> None:
        if new is not None:
            if isinstance(reservation, Allocation):
                reservation.commit()
            return
        # An update that removed the last finalizer ends here, too: what it took goes with what was there.
        if isinstance(reservation, Allocation):
            reservation.rollback()
        if old is not None:
            self._allocator.on_delete(old)

    async def rollback(self, new: Obj, old: Obj | None, reservation: Reservation) -> None:
        if isinstance(reservation, Allocation):
            reservation.rollback()
