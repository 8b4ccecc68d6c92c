"""Keeps the long-lived processes small: called once, when a process has started.

Used by ``control_plane``, ``node_process`` and ``supervisor``. Changes nothing that anybody else can see.
"""

from __future__ import annotations

import asyncio
import gc

from sampan import resident

#: After the start: by then the caches are full and what was needed for starting is garbage.
REST_SECONDS = 4.0


def start_quickly() -> None:
    """Before anything is made: start-up makes much that stays, and the collector would walk it again and again."""
    gc.set_threshold(10_000, 20, 50)


def settle_later() -> None:
    """When it is at rest; and from then on it stays small."""
    loop = asyncio.get_running_loop()

    def begin() -> None:
        settle()
        resident.stay_small(loop.call_later)

    loop.call_later(REST_SECONDS, begin)


def settle() -> None:
    """Gives back free memory and code that only the start ran, and keeps the collector from looking at what will stay
    for good."""
    gc.collect()
    gc.freeze()
    resident.trim()
    resident.forget_code()
