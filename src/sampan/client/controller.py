"""The shell of every work-queue controller: informer events give keys, workers sync keys, errors decide the retry.

A controller module supplies ``sync(key)``, which takes one snapshot from the informers, plans purely and applies the
plan. Level-triggered: a key says only that something may have to be done. ``observe`` closes the loop after a write:
nobody syncs a key again on a state older than what it wrote itself, so no expectation counters are needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from sampan.api.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import key_of, revision_of
from sampan.client.workqueue import WorkQueue
from sampan.records import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What a sync leaves: nothing more to do, or look again after some seconds."""

    requeue_after_seconds: float | None = None


K = TypeVar("K", bound=Hashable)

DONE = Result()

#: What one sync may take, waits for informers left out: far more than any needs. A sync that hangs costs its key its
#: turn, never the worker.
SYNC_SECONDS = 300.0
#: What is refused as invalid is not tried again sooner.
INVALID_SECONDS = 1.0


class _Limit:
    """The deadline of one sync, which stands still while something of it waits in ``observe``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._observing = 0
        self.timeout = asyncio.timeout(seconds)

    def __enter__(self) -> None:
        self._observing += 1
        self.timeout.reschedule(None)

    def __exit__(self, *error: object) -> None:
        self._observing -= 1
        if not self._observing:
            self.timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)


_limit: contextvars.ContextVar[_Limit | None] = contextvars.ContextVar("limit of a sync", default=None)


async def observe(informer: Informer, answer: Obj, namespace: str = "") -> None:
    """Waits until the informer has seen a write, given the server's answer to it.

    The answer is the written object, or for a deletion that took effect at once a ``Status`` with name and uid
    (``namespace`` is then the object's). It has no time limit on purpose: going on with an older view would create
    things twice.
    """
    if answer.get("kind") != "Status":
        revision = revision_of(answer)
        if informer.has_synced and informer.revision >= revision:
            return  # as a rule in the server's own process, where a write has been told when it is answered
        with _limit.get() or contextlib.nullcontext():
            await informer.wait_for(revision)
        return
    details = answer.get("details") or {}
    name, uid = details.get("name", ""), details.get("uid", "")
    if not name or not uid:
        return

    def gone() -> bool:
        present = informer.get(namespace, name)
        return present is None or present["metadata"].get("uid") != uid

    if not (informer.has_synced and gone()):
        with _limit.get() or contextlib.nullcontext():
            await informer.wait_until(gone)


class Controller(Generic[K]):
    """Feeds keys (any hashable, mostly ``ObjectKey``) from informers to ``sync``.

    ``queue`` may also be filled by hand: timers, other sources.
    """

    def __init__(
        self,
        name: str,
        sync: Callable[[K], Awaitable[Result | None]],
        *,
        workers: int = 5,
        informers: Sequence[Informer] = (),
        sync_seconds: float = SYNC_SECONDS,
    ) -> None:
        self.name = name
        self.queue: WorkQueue[K] = WorkQueue(name)
        self._sync = sync
        self._workers = workers
        self._sync_seconds = sync_seconds
        self._informers = list(informers)

    def watch(
        self,
        informer: Informer,
        to_keys: Callable[[Obj], Iterable[K]],
        pause: Callable[[Obj], float] = lambda state: 0.0,
    ) -> None:
        """Enqueues, for each change, the keys of the new and of the previous state. ``pause``: for how many seconds a
        state's keys may wait for more news."""
        self.wait_for(informer)

        def changed(kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
            for state in (obj,) if previous is None or previous is obj else (obj, previous):
                try:
                    for key in to_keys(state):
                        self.queue.add_after(key, pause(state))
                except Exception:  # of one state that cannot be read; the other's keys are due all the same
                    log.exception("%s: no keys of %s", self.name, key_of(state))

        informer.add_handler(changed)

    def wait_for(self, informer: Informer) -> None:
        """No key is synced before this one has synced."""
        if informer not in self._informers:
            self._informers.append(informer)

    def enqueue(self, key: K, after_seconds: float = 0.0) -> None:
        self.queue.add_after(key, after_seconds)

    async def run(self) -> None:
        """Works until cancelled. The informers run elsewhere; no key is synced before all of them have synced."""
        metrics = self.queue.metrics
        unfollow = metrics.follow() if metrics is not None else None
        try:
            for informer in self._informers:
                await informer.synced()
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    tasks.spawn_eternal(group, self._work(), f"{self.name} worker {number}")
        finally:
            self.queue.shut_down()
            if unfollow is not None:
                unfollow()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.process(key)
            finally:
                self.queue.done(key)

    async def process(self, key: K) -> None:
        """One sync, and what its outcome means for the key."""
        queue = self.queue
        limit = _Limit(self._sync_seconds)
        token = _limit.set(limit)
        try:
            async with limit.timeout:
                result = await self._sync(key)
        except (Conflict, NotFound) as error:
            # What was read is out of date: look again.
            log.debug("%s: %s: %s", self.name, key, error.message)
            queue.add_rate_limited(key)
        except Invalid as error:
            # Mostly the same input gives the same answer, but a webhook or a policy that said no may be gone by then.
            log.warning("%s: %s: %s", self.name, key, error.message)
            queue.add_after(key, max(INVALID_SECONDS, queue.next_delay_seconds(key)))
        except Forbidden as error:
            if error.cause("NamespaceTerminating"):
                queue.forget(key)
                return
            log.warning("%s: %s: %s", self.name, key, error.message)
            queue.add_rate_limited(key)
        except ApiError as error:
            log.warning("%s: %s: %s", self.name, key, error.message)
            if error.retry_after_seconds:
                queue.add_after(key, error.retry_after_seconds)
            else:
                queue.add_rate_limited(key)
        except TimeoutError:
            log.error("%s: sync of %s gave up", self.name, key, exc_info=not limit.timeout.expired())
            queue.add_rate_limited(key)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # An informer ended while this waited for it: a worker that took it for its own end would be missed.
            log.warning("%s: sync of %s: what it waited for was cancelled", self.name, key)
            queue.add_rate_limited(key)
        except Exception:
            # Our bug: it costs this key its turn, backed off alone, and nothing else.
            log.exception("%s: sync of %s failed", self.name, key)
            queue.add_rate_limited(key)
        else:
            queue.forget(key)
            if result is not None and result.requeue_after_seconds is not None:
                queue.add_after(key, max(result.requeue_after_seconds, 0.001))
        finally:
            _limit.reset(token)
