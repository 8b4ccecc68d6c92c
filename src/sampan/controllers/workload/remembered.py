"""What a pure function reads from objects, found once for each state of each: so a look at an owner of a thousand pods
reads those that have changed since the last one.

For planners, one an owner. An informer gives the same object as long as nothing changed; it is read-only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from sampan.api import objects
from sampan.api.reading import part, whole
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, Informer

T = TypeVar("T")

#: Read in one go: 40 µs each is the most that is known, a failed pod under the longest policy of a Job.
PIECE: Final = 100
#: An owner of fewer is read anew at each look: remembering costs memory, and most owners are old and have none.
MANY: Final = 20


class Remembered(Generic[T]):
    """Invariant: ``_known`` holds the objects of the last look, and those learned since, by identity, so that no other
    has one of these."""

    def __init__(self, read: Callable[[Obj], T]) -> None:
        self._read = read
        self._known: dict[int, tuple[Obj, T]] = {}

    def __call__(self, objects: Iterable[Obj]) -> list[T]:
        """What is read from each of them. Those of earlier looks that are not among them are forgotten."""
        before, now, found = self._known, {}, []
        for obj in objects:
            known = before.get(id(obj))
            if known is None:
                known = obj, self._read(obj)
            now[id(obj)] = known
            found.append(known[1])
        self._known = now
        return found

    async def learn(self, objects: Iterable[Obj], then: Callable[[T], object] = lambda found: None) -> None:
        """Before a first look at many: reads those that are not known, in pieces between which others have their
        turn. ``then``: what will be asked of each besides."""
        unknown = [obj for obj in objects if id(obj) not in self._known]
        for start in range(0, len(unknown), PIECE):
            if start:
                await asyncio.sleep(0)
            for obj in unknown[start : start + PIECE]:
                self._known[id(obj)] = obj, (found := self._read(obj))
                then(found)


class Readers(Generic[T]):
    """What was read of each owner's objects; made anew when the owner's spec changes, forgotten with the owner.

    ``read(owner)`` gives what reads one object after the other for it, as its spec is.
    """

    def __init__(self, owners: Informer, read: Callable[[Obj], Callable[[Obj], T]]) -> None:
        self._owners, self._read = owners, read
        self._of: dict[str, tuple[int, bool, Remembered[T]]] = {}
        owners.add_handler(self._forget)

    def of(self, owner: Obj, count: int) -> Remembered[T]:
        """``count``: how many objects it has; of few nothing is kept."""
        uid, generation = objects.uid(owner), whole(part(owner, "metadata"), "generation")
        deleting = objects.is_deleting(owner)
        if (known := self._of.get(uid)) is not None and known[:2] == (generation, deleting) and count >= MANY:
            return known[2]
        made = Remembered(self._read(owner))
        if generation is not None and count >= MANY and self._is_there(owner):
            self._of[uid] = generation, deleting, made
        else:
            self._of.pop(uid, None)
        return made

    def __len__(self) -> int:
        return len(self._of)

    def _is_there(self, owner: Obj) -> bool:
        """It may have gone since it was looked up: then nobody would forget it."""
        meta = owner["metadata"]
        present = self._owners.get(meta.get("namespace", ""), meta["name"])
        return present is not None and objects.uid(present) == objects.uid(owner)

    def _forget(self, kind: ChangeType, owner: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._of.pop(objects.uid(owner), None)
