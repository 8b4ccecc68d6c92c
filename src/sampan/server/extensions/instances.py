"""Deletes what is left of a custom resource whose definition goes, straight in storage: nobody is asked, neither
admission nor a webhook that converts, for they may be gone already. Finalizers are waited for as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from sampan.api.clock import Clock
from sampan.server.options import DeleteOptions
from sampan.server.rest.delete import plan_deletion
from sampan.server.storage import ResourceStorage
from sampan.server.threads import is_heavy, paced
from sampan.store.protocol import RevisionConflict

#: objects deleted at the same time: they share the store's group commits
_CONCURRENCY: Final = 16
_ATTEMPTS: Final = 64


async def delete_all(storage: ResourceStorage, clock: Clock) -> None:
    """Asks for the deletion of everything that is there now. Raises StoreError."""
    keys = [entry.key for entry in storage.cache.entries()]
    for at in range(0, len(keys), _CONCURRENCY):
        await _delete_some(storage, keys[at : at + _CONCURRENCY], clock)


async def _delete_some(storage: ResourceStorage, keys: Sequence[str], clock: Clock) -> None:
    outcomes = await asyncio.gather(*(_delete(storage, key, clock) for key in keys), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _delete(storage: ResourceStorage, key: str, clock: Clock) -> None:
    for _ in range(_ATTEMPTS):
        current = await storage.newest(key)
        if current is None:
            return
        try:
            if current.damaged:
                await storage.remove(key, current.revision)
                return
            heavy = is_heavy(current.value)
            plan = await paced(heavy, plan_deletion, storage.kind, current.object(), DeleteOptions(), clock.now())
            if plan.obj is None:
                await storage.remove(key, current.revision)
            elif not plan.unchanged:
                await storage.commit(key, current.revision, plan.obj)
            return
        except RevisionConflict:
            continue


async def wait_empty(storage: ResourceStorage, seconds: float) -> bool:
    """Whether everything was gone after so many seconds at most; what finalizers hold stays."""
    changed = asyncio.Event()
    stop = storage.cache.subscribe(lambda *change: changed.set(), keep=False)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while storage.cache.count():
                    changed.clear()
                    await changed.wait()
    finally:
        stop()
    return not storage.cache.count()
