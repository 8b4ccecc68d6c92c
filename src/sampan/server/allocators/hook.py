"""The write hook of Services: takes addresses and ports before a write, settles them after it.

Registered by ``app`` for (core, services). Start it with ``ServiceAllocator.load`` of the stored Services.
"""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.server.allocators.service import Allocation, ServiceAllocator
from sampan.server.hooks import Hook


class ServiceHook(Hook):
    """Invariant: ``_open`` holds the allocations of writes that are neither committed nor rolled back.

    They are found by the identity of the object that is being written, which is kept alive beside them.
    """

    takes = True

    def __init__(self, allocator: ServiceAllocator) -> None:
        self._allocator = allocator
        self._open: dict[int, tuple[Obj, Allocation]] = {}

    async def before_create(self, obj: Obj, *, dry_run: bool) -> None:
        self._open[id(obj)] = (obj, self._allocator.on_create(obj))

    async def before_update(self, new: Obj, old: Obj, *, dry_run: bool) -> None:
        self._open[id(new)] = (new, self._allocator.on_update(new, old))

    def committed(self, new: Obj | None, old: Obj | None) -> None:
        if new is None:
            self._deleted(old)
            return
        _, allocation = self._open.pop(id(new), (None, None))
        if allocation is not None:
            allocation.commit()

    def _deleted(self, old: Obj | None) -> None:
        """Also the end of an update that removed the last finalizer: what that update took goes, too."""
        if old is None:
            return
        key = (old["metadata"].get("namespace"), old["metadata"]["name"])
        for number, (obj, allocation) in list(self._open.items()):
            if (obj["metadata"].get("namespace"), obj["metadata"].get("name")) == key:
                del self._open[number]
                allocation.rollback()
        self._allocator.on_delete(old)

    def rollback(self, new: Obj, old: Obj | None) -> None:
        _, allocation = self._open.pop(id(new), (None, None))
        if allocation is not None:
            allocation.rollback()
