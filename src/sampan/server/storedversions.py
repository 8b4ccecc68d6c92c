"""Stored values brought to the form in which they would be written today.

An API server reads what former versions wrote as if it had been written today, and leaves it until somebody changes it.
Before a release drops a former form, everything has to be written once more; upstream has its storage version migrator
for that. Here each value that differs is written by compare-and-swap, so that servers may run meanwhile, on a store
that several share; where one alone has the store, it has to be stopped. Custom resources stay: which versions of theirs
are stored is their definition's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from sampan.records import dataclass
from sampan.server.storage import ResourceStorage
from sampan.store.protocol import EntryDamaged, RevisionConflict, Store

_PAGE: Final = 500
#: what reading a stored value may raise (``ResourceStorage.current``)
_UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``left``: keys that nobody can read, and why."""

    looked_at: int
    rewritten: int
    left: tuple[str, ...] = ()


async def rewrite(store: Store, storages: Iterable[ResourceStorage], told: Callable[[int, int], None]) -> Rewritten:
    """``told`` is told how many were looked at and rewritten, now and then. Idempotent. Raises StoreError."""
    looked_at = rewritten = 0
    left: list[str] = []
    for storage in storages:
        if storage.kind.custom or storage.kind.ttl_seconds is not None:
            continue  # what has a time to live is gone before anybody could miss it
        after: str | None = None
        while True:
            page = await store.range(storage.prefix, limit=_PAGE, after=after)
            for entry in page.entries:
                after, looked_at = entry.key, looked_at + 1
                try:
                    written = entry.value
                    value = storage.current(written)
                except (EntryDamaged, *_UNREADABLE) as error:
                    left.append(f"{entry.key}: {error}")
                    continue
                if value == written:
                    continue
                try:
                    await store.commit(entry.key, entry.revision, value)
                    rewritten += 1
                except RevisionConflict:
                    continue  # somebody wrote it meanwhile, and in today's form
            told(looked_at, rewritten)
            if not page.entries or not page.remaining:
                break
    return Rewritten(looked_at, rewritten, tuple(left))
