"""Work that takes longer than the event loop may stand still: YAML, tables of thousands of rows, big patches, gzip.

A few threads of this process do it. They share the interpreter with the loop, which keeps answering between their
turns; so work belongs here by its length, not because it would be faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: More would only take turns with each other. What waits is bounded by the requests in flight.
_THREADS = 2
_executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="sampan-aside")


async def aside(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs ``work`` in a thread. It must not touch what the event loop changes. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_executor, partial(work, *args, **kwargs))
