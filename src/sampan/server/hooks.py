"""Work around writes that needs more than the object itself: the seam for kinds with side effects.

``rest`` asks the hook of a resource at fixed points; most resources have the default one, which does nothing. Concrete
hooks (Services: addresses and ports) are registered by ``app``. What a kind decides alone, by looking at an object,
is not here but in its ``Kind``.
"""

from __future__ import annotations

from typing import TypeAlias

from sampan.api.kind import Kind
from sampan.api.types import Obj

#: what a hook took for one write, in its own form; None: nothing
Reservation: TypeAlias = object | None


class Hook:
    """The default, which takes nothing. Overriding methods raise ApiError to refuse; objects are of the stored kind.

    What ``before_create`` and ``before_update`` return is the write's reservation: the caller keeps it and hands it to
    exactly one of ``committed`` and ``rollback``. A deletion has none. Settling never raises: by then the write's
    outcome stands, and what could not be given back is found later.
    """

    #: it takes something before a write that ``committed`` or ``rollback`` must settle by the write's true outcome
    takes = False

    async def before_create(self, obj: Obj, *, dry_run: bool) -> Reservation:
        """May change ``obj``; runs after validation, so that what is refused takes nothing, before admission's."""
        return None

    async def before_update(self, new: Obj, old: Obj, *, dry_run: bool) -> Reservation:
        """May change ``new``; ``old`` is shared. Runs where ``before_create`` does."""
        return None

    async def committed(self, new: Obj | None, old: Obj | None, reservation: Reservation) -> None:
        """The write is durable. ``new`` None: deleted; ``old`` None: created."""

    async def rollback(self, new: Obj, old: Obj | None, reservation: Reservation) -> None:
        """The write did not happen (or was a dry run): give back what was taken."""


class Hooks:
    """Hooks by (group, resource)."""

    def __init__(self) -> None:
        self._default = Hook()
        self._hooks: dict[tuple[str, str], Hook] = {}

    def register(self, group: str, resource: str, hook: Hook) -> None:
        self._hooks[group, resource] = hook

    def of(self, kind: Kind) -> Hook:
        return self._hooks.get((kind.group, kind.plural), self._default)
