"""Carries a write that has begun to its end, whatever becomes of the request.

A client that goes away, or a request that runs out of time, is cancelled; a commit that was handed to the store is
not. Who gave up in between would take back what the stored object has: two Services with one address, a pod that no
quota counts. So the verbs that write run their last part here, where a hook or admission takes something. What they
ask others meanwhile (webhooks, who may be slow) ends with the request all the same: ``while_asking``. So what goes on
without a request waits no longer than for the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from sampan.api.errors import ApiError
from sampan.records import dataclass
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Carried:
    """A write that is carried through. ``asking``: nothing is handed to the store, and it may end any time."""

    asking: bool = False
    given_up: bool = False


_CARRIED: Final[ContextVar[_Carried | None]] = ContextVar("carried", default=None)


async def while_asking(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, a part of a write that commits nothing of it: it ends when the request is given up."""
    carried = _CARRIED.get()
    if carried is None:
        return await work
    if carried.given_up:
        work.close()
        raise asyncio.CancelledError
    carried.asking = True
    try:
        return await work
    finally:
        carried.asking = False


async def _carry(write: Coroutine[Any, Any, T], carried: _Carried) -> T:
    _CARRIED.set(carried)
    return await write


async def carry_through(write: Coroutine[Any, Any, T], *, takes: bool) -> T:
    """The result of ``write``, which goes on when the caller is cancelled, if anything is taken for it."""
    if not takes:
        return await write
    carried = _Carried()
    task = asyncio.get_running_loop().create_task(_carry(write, carried), name="write")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_nobody_waits)
        carried.given_up = True
        if carried.asking:
            task.cancel()
        raise


def _nobody_waits(task: asyncio.Task[Any]) -> None:
    """How it ended is no client's to hear any more. What is refused is usual, all else a fault."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, ApiError | StoreError):
        log.debug("a write whose request was given up: %s", error)
    elif error is not None:
        log.error("a write whose request was given up failed", exc_info=error)
