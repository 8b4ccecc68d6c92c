"""What policy needs to know of stored objects: the seam between security, admission, allocators and the watch caches.

The API server's core implements it over its watch caches; tests use a dict. All methods but ``fresh`` answer at once
from memory. Objects are the caches' own dicts: read-only. Declarations only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sampan.api.resources import Resource
from sampan.api.transport import ChangeCallback
from sampan.api.types import Obj


class ObjectReader(Protocol):
    def get(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        """``namespace`` is None or "" for cluster-scoped resources."""
        ...

    def list(self, resource: Resource, namespace: str | None = None) -> Iterable[Obj]:
        """All present objects, of one namespace or of all; what cannot be read is left out."""
        ...

    def stored(self, resource: Resource, namespace: str, limit: int) -> tuple[Sequence[bytes], int]:
        """The stored form (JSON) of the first objects of a namespace, in the order of their names, and how many there
        are: for work on many that a thread does. What cannot be read is left out."""
        ...

    def revision(self, resource: Resource, namespace: str | None, name: str) -> int:
        """The revision of the object's last change, 0 when it is not there: whether a conclusion from it still holds,
        for the price of a look-up."""
        ...

    def subscribe(self, resource: Resource, callback: ChangeCallback, *, keep: bool = True) -> Callable[[], None]:
        """Calls back for each later change, in revision order; returns the unsubscriber.

        ``keep``: the caches hold on to decoded objects, for whoever goes on to ``get`` and ``list`` them. Without it
        the callback takes what it needs.
        """
        ...

    def on_change(
        self, resource: Resource, namespace: str, name: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Calls back for each later change of this one object, as ``subscribe``; changes of all others cost nothing."""
        ...

    async def fresh(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        """The object as the store has it now: for the rare question that a cache a moment behind would get wrong."""
        ...
