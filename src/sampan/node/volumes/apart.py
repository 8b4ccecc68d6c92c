"""One look at what may hang, in a thread of its own: whoever waits for it can stop waiting, and nobody else waits."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_own_thread(work: Callable[[], T], name: str, done: Callable[[], None] = lambda: None) -> T:
    """``done`` is called on the event loop when the thread has ended, whether somebody still waits or not. Raises what
    ``work`` does, and OSError where no thread can be had. The thread keeps no process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            found = work()
        except Exception as error:
            tell(answer.set_exception, error)
        else:
            tell(answer.set_result, found)

    def tell(settle: Callable[[Any], None], what: Any) -> None:
        try:
            loop.call_soon_threadsafe(ended, settle, what)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def ended(settle: Callable[[Any], None], what: Any) -> None:
        done()
        if not answer.done():
            settle(what)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        done()
        raise OSError(errno.EAGAIN, f"{name}: {error}") from error
    return await answer
