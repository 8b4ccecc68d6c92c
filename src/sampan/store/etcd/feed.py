"""The one watch of everything that a store follows: events in revision order, without gap or repeat, for good.

A stream that ends, or a member that falls silent, is followed by another one from the revision after the last that was
handed on. Knows nothing of what the events mean. ``follow`` runs as a task of the store; the loop gets its turn between
portions.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from sampan.store.etcd.client import Client, Stream
from sampan.store.etcd.errors import Again, PastRevision
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

_CREATE_SECONDS: Final = 2.0
_PAUSES_SECONDS: Final = (0.02, 0.1, 0.3, 0.5)
#: revisions between which others get a turn of the loop
_STEP: Final = 128


class Gap(StoreError):
    """What comes next is compacted, or the cluster is another one, or revisions mean something else from here on:
    following it further would hide changes."""


class Behind(StoreError):
    """What comes next is compacted. Never leaves this package."""


class Feed:
    """Invariant: every event up to ``told`` has been handed to ``apply``, once, and none after it."""

    def __init__(
        self,
        client: Client,
        key: bytes,
        range_end: bytes,
        after: int,
        cluster: int,
        apply: Callable[[int, Sequence[Any]], None],
        *,
        needed_after: int | None = None,
        forget: Callable[[int], None] = lambda revision: None,
        take_missed: Callable[[int], Awaitable[int]],
    ) -> None:
        """``needed_after``: what is before this revision is welcome and no more; ``forget`` is told where it begins
        instead, when it is compacted. ``take_missed`` hands on, in one step, what happened after a revision, when that
        is compacted, and gives the revision up to which it did; it raises Gap where it cannot."""
        self.told = after
        self._needed_after = after if needed_after is None else needed_after
        self._forget = forget
        self._take_missed = take_missed
        self._client = client
        self._range = (key, range_end)
        self._cluster = cluster
        self._apply = apply
        self._waiting: list[tuple[int, int, asyncio.Future[int]]] = []
        self._waits = 0
        self._reading: asyncio.Task[None] | None = None
        self._member = ""

    async def follow(self) -> None:
        """Never returns. Raises Gap."""
        failures = 0
        while True:
            before = self.told
            self._reading = asyncio.ensure_future(self._read())
            try:
                await asyncio.wait([self._reading])
            finally:
                self._reading.cancel()
            error = None if self._reading.cancelled() else self._reading.exception()
            if isinstance(error, Behind):
                error = await self._catch_up(error)
            if error is not None and not isinstance(error, Again):
                if not isinstance(error, StoreError) or isinstance(error, Gap):
                    raise error
                log.warning("etcd's changes cannot be followed for now: %s", error)
            log.debug("the watch at %s ended: %s", self._member, error or "it was silent")
            self._client.distrust(self._member)
            failures = 0 if self.told > before else failures + 1
            await asyncio.sleep(_PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)])

    def again(self) -> None:
        """The member is silent: another one is followed from here on."""
        if self._reading is not None:
            self._reading.cancel()

    async def reach(self, revision: int) -> int:
        """Returns once ``told`` is that far: the first revision that was."""
        if self.told >= revision:
            return self.told
        reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waits += 1
        heapq.heappush(self._waiting, (revision, self._waits, reached))
        return await reached

    async def _catch_up(self, behind: Behind) -> StoreError | None:
        try:
            revision = await self._take_missed(self.told)
        except PastRevision as error:  # compacted again meanwhile
            return Again(str(error))
        except StoreError as error:
            return error
        log.warning("%s: the state at revision %d was read instead", behind, revision)
        self._reached(revision)
        return None

    async def _read(self) -> None:
        async with self._client.watch() as stream:
            self._member = stream.member
            try:
                async with asyncio.timeout(_CREATE_SECONDS):
                    await self._begin(stream)
            except TimeoutError:
                raise Again(f"{stream.member} did not begin to tell of changes") from None
            parts: list[Any] = []
            while True:
                answer = await stream.read()
                self._check(answer)
                parts.extend(answer.events)
                if answer.fragment:
                    continue  # the rest of a revision may be in the next part
                await self._hand_on(parts)
                parts = []

    async def _begin(self, stream: Stream) -> None:
        key, range_end = self._range
        create = pb.WatchCreateRequest(
            key=key, range_end=range_end, start_revision=self.told + 1, prev_kv=True, fragment=True
        )
        await stream.send(pb.WatchRequest(create_request=create))
        answer = await stream.read()
        self._check(answer)
        if answer.header.cluster_id != self._cluster:
            raise Gap(f"{stream.member} belongs to another etcd cluster than before")
        # A member that lags behind may answer with less than was told; an etcd put back from a backup stays there.

    def _check(self, answer: Any) -> None:
        if answer.compact_revision and self.told < self._needed_after:
            self._forget(self._needed_after)
            self._reached(self._needed_after)
            raise Again("what was before is compacted")
        if answer.compact_revision:
            raise Behind(f"the changes after revision {self.told} are compacted (up to {answer.compact_revision})")
        if answer.canceled:
            raise Again(answer.cancel_reason or "the watch was cancelled")

    async def _hand_on(self, events: Iterable[Any]) -> None:
        for number, (revision, found) in enumerate(groupby(events, key=_revision_of)):
            if number % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            if revision > self.told:
                self._apply(revision, list(found))
                self._reached(revision)

    def _reached(self, revision: int) -> None:
        self.told, waiting = revision, self._waiting
        while waiting and waiting[0][0] <= revision:
            reached = heapq.heappop(waiting)[2]
            if not reached.done():
                reached.set_result(revision)


def _revision_of(event: Any) -> int:
    revision: int = event.kv.mod_revision
    return revision
