"""One at a time for each pod, where work is done in threads: a thread cannot be cancelled, so whoever waited for it may
be gone long before it is. The pod's lock then stays with the thread until that has ended."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Turn:
    """``running``: the thread's work that was begun last, if any."""

    running: asyncio.Future[Any] | None = None

    async def in_thread(self, work: Callable[..., T], *args: Any, lane: Executor | None = None) -> T:
        """The result of ``work``, which goes on when the caller is cancelled. Raises what it raises.

        ``lane``: whose threads; None: the event loop's.
        """
        self.running = asyncio.get_running_loop().run_in_executor(lane, functools.partial(work, *args))
        result: T = await asyncio.shield(self.running)
        return result


class PodLocks:
    """Invariant: there is a lock for each pod that somebody has or waits for, and for no other."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._asking: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def turn(self, uid: str) -> AsyncIterator[Turn]:
        lock = self._locks.setdefault(uid, asyncio.Lock())
        self._asking[uid] = self._asking.get(uid, 0) + 1
        try:
            await lock.acquire()
        except BaseException:
            self._left(uid)
            raise
        turn = Turn()
        try:
            yield turn
        finally:
            if turn.running is None or turn.running.done():
                self._release(uid, lock)
            else:
                turn.running.add_done_callback(lambda done: self._abandoned(uid, lock, done))

    def _abandoned(self, uid: str, lock: asyncio.Lock, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # nobody is left who would be told
        self._release(uid, lock)

    def _release(self, uid: str, lock: asyncio.Lock) -> None:
        lock.release()
        self._left(uid)

    def _left(self, uid: str) -> None:
        self._asking[uid] -= 1
        if not self._asking[uid]:
            del self._asking[uid], self._locks[uid]
