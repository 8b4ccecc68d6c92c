"""Carries a write that has begun to its end, whatever becomes of the request.

A client that goes away, or a request that runs out of time, is cancelled; a commit that was handed to the store is
not. Who gave up in between would take back, for the hook, what the stored object has: two Services with one address.
So the verbs that write run their last part here, for the kinds whose hook takes something. It ends by
itself: nothing in it waits longer than the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sampan.server.hooks import Hook

T = TypeVar("T")


async def carry_through(write: Coroutine[Any, Any, T], hook: Hook) -> T:
    """The result of ``write``, which goes on when the caller is cancelled, if the hook takes anything."""
    if not hook.takes:
        return await write
    return await asyncio.shield(asyncio.get_running_loop().create_task(write, name="write"))
