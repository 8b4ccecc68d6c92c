"""The background loops of a server: each under a keeper that starts it again when it fails, and tells of it.

A fault in one loop (an aggregation that met a 503, a reconciler that met a bad object) ends that loop for a moment and
nothing else: neither the server nor another loop. What ends the server is the loss of its store alone, and that is not
said here (``Server.fatal``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
#: a loop that ran this long before it failed begins with the first wait again
_HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class Loop:
    """One kept loop, as health and metrics see it."""

    name: str
    run: Callable[[], Awaitable[None]]
    failures: int = 0
    #: why it is not running at the moment; "": it runs
    fault: str = ""
    _task: asyncio.Task[None] | None = field(default=None, repr=False)


class Loops:
    """Add loops with ``keep``; ``close`` ends them all."""

    def __init__(self) -> None:
        self.kept: dict[str, Loop] = {}

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Runs ``run()`` again and again, for it is to return only when cancelled. ValueError: the name is taken."""
        if name in self.kept:
            raise ValueError(f"there is a loop {name!r} already")
        loop = self.kept[name] = Loop(name, run)
        loop._task = asyncio.get_running_loop().create_task(_keep(loop), name=name)

    async def close(self) -> None:
        tasks = [loop._task for loop in self.kept.values() if loop._task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.kept.clear()


async def _keep(loop: Loop) -> None:
    clock = asyncio.get_running_loop()
    wait = FIRST_WAIT_SECONDS
    while True:
        started = clock.time()
        try:
            await loop.run()
            loop.fault = "it ended by itself"
            log.error("%s ended by itself; it is started again", loop.name)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the loop waited for was cancelled, not the loop.
            loop.fault = "what it waited for was cancelled"
            log.error("%s: %s; it is started again", loop.name, loop.fault)
        except Exception as error:
            loop.fault = str(error) or type(error).__name__
            log.exception("%s failed; it is started again", loop.name)
        loop.failures += 1
        if clock.time() - started >= _HEALTHY_SECONDS:
            wait = FIRST_WAIT_SECONDS
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        loop.fault = ""
