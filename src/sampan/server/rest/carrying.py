"""Carries a write that has begun to its end, whatever becomes of the request.

A client that goes away, or a request that runs out of time, is cancelled; a commit that was handed to the store is
not. Who gave up in between would take back what the stored object has: two Services with one address, a pod that no
quota counts. So the verbs that write run their last part here, where a hook or admission takes something. It ends by
itself: nothing in it waits longer than the store, or than a quota's turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from sampan.api.errors import ApiError
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

T = TypeVar("T")


async def carry_through(write: Coroutine[Any, Any, T], *, takes: bool) -> T:
    """The result of ``write``, which goes on when the caller is cancelled, if anything is taken for it."""
    if not takes:
        return await write
    task = asyncio.get_running_loop().create_task(write, name="write")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_nobody_waits)
        raise


def _nobody_waits(task: asyncio.Task[Any]) -> None:
    """How it ended is no client's to hear any more. What is refused is usual, all else a fault."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, ApiError | StoreError):
        log.debug("a write whose request was given up: %s", error)
    elif error is not None:
        log.error("a write whose request was given up failed", exc_info=error)
