"""Work that takes longer than the event loop may stand still: YAML, tables of thousands of rows, long objects, gzip.

A few threads of this process do it. They share the interpreter with the loop, which keeps answering between their
turns; so work belongs here by its length, not because it would be faster. ``is_heavy`` is the one rule for objects.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import orjson

P = ParamSpec("P")
R = TypeVar("R")

#: More would only take turns with each other. What waits is bounded by the requests in flight.
_THREADS = 2
_executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="sampan-aside")


def _renew() -> None:
    """A forked process has none of the threads."""
    global _executor
    _executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="sampan-aside")


os.register_at_fork(after_in_child=_renew)

#: An object of more bytes, objects or values takes some milliseconds to decode, default, admit and validate. What it
#: costs goes by what is in it: an empty container is two bytes, and some hundred microseconds.
_LONG_BYTES: Final = 16 * 1024
_MANY_OBJECTS: Final = 100
_MANY_VALUES: Final = 600
#: holds no such number of anything: an object among others is three bytes at least, a value two
_SHORT_BYTES: Final = 3 * _MANY_OBJECTS


def is_heavy(encoded: bytes | None) -> bool:
    """Whether what this JSON holds is for a thread. Counts what stands in texts, too: too much costs a hop only. The
    leaves of managed fields are no objects to anybody."""
    if encoded is None or (size := len(encoded)) <= _SHORT_BYTES:
        return False
    return (
        size > _LONG_BYTES
        or encoded.count(b"{") - encoded.count(b'":{}') > _MANY_OBJECTS
        or (size > 2 * _MANY_VALUES and encoded.count(b",") > _MANY_VALUES)
    )


def is_heavy_value(value: Any) -> bool:
    """The same of what has been decoded, or never was encoded."""
    try:
        return is_heavy(orjson.dumps(value))
    except orjson.JSONEncodeError:  # no JSON: whoever decodes it will say so
        return True


async def aside(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs ``work`` in a thread. It must not touch what the event loop changes. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_executor, partial(work, *args, **kwargs))


async def paced(heavy: bool, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``work``, in a thread if it is heavy. What it works on belongs to the caller alone. Raises what it raises."""
    return await aside(work, *args, **kwargs) if heavy else work(*args, **kwargs)
