"""One candidate of an election: waits for the lease, leads while it can renew it, and gives it back.

client-go's algorithm, with two differences that a follower of it cannot see: a candidate that waits looks again at the
very moment at which the lease runs out as it saw it, so that nobody is without a leader for longer than the lease and
one pause; and where the server's cache is in this process, the term ends with the commit by which another takes the
lease, and a candidate tries with the commit by which it is given back.

A leader that could not renew for the renew deadline, reckoned from before it sent its last good renewal, stops: others
wait for the whole lease from after that. Called by the programs that act once in a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from sampan.api.clock import Clock, Random, format_micro_time
from sampan.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from sampan.api.resources import LEASES
from sampan.api.transport import EventType, Part
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.keys import revision_of
from sampan.client.leaderelection.record import (
    JITTER,
    ElectionConfig,
    claim,
    given_up,
    holder,
    says_the_same,
    seconds_of,
)
from sampan.client.leaderelection.term import Term
from sampan.client.timeline import Timeline

log = logging.getLogger(__name__)

#: what the end of a term may wait for a server that does not answer
RELEASE_SECONDS = 2.0
#: a lease that ran out is looked at so much later, for it is judged by two clocks
_AFTER_ITS_END = 0.001

Lead = Callable[[Term], Awaitable[None]]


class LeadershipLost(RuntimeError):
    """The lease could not be renewed in time, or is another's: the process must stop what leaders do."""


class Report(Protocol):
    """Is told what becomes of the candidate (Events, metrics). Must not block."""

    def leading(self, name: str, leads: bool) -> None: ...
    def event(self, lease: Obj, message: str) -> None: ...
    def slow_path(self, name: str) -> None:
        """A renewal needed more than one request."""
        ...


class LeaderElector:
    """Invariant: ``term`` is set while ``lead`` runs, and allows nothing once this candidate knows of another."""

    def __init__(
        self, client: Client, config: ElectionConfig, clock: Clock, random: Random, report: Report | None = None
    ) -> None:
        """Raises WrongElection."""
        config.validate()
        self.config = config
        self.term: Term | None = None
        self._client = client
        self._clock = Timeline.of(clock)
        self._random = random
        self._report = report
        self._lease: Obj | None = None
        self._seen_at = -math.inf
        self._renewed_at = -math.inf

    @property
    def leads(self) -> bool:
        return self.term is not None and self.term.may_act

    @property
    def leader(self) -> str:
        """Who leads as far as this candidate has seen; "": nobody."""
        return holder(self._lease)

    def overdue_seconds(self) -> float:
        """For how long the own lease has been out though this process still leads; 0: all is well."""
        if self.term is None or self.config.sole:
            return 0.0
        return max(self._clock.monotonic() - self._renewed_at - self.config.lease_seconds, 0.0)

    async def run(self, lead: Lead) -> None:
        """Waits for leadership, runs ``lead`` and renews. Raises LeadershipLost, and what ``lead`` raises; returns when
        ``lead`` does. However it ends, the lease is given back if it is still ours."""
        config = self.config
        if self._report is not None:
            self._report.leading(config.name, False)
        with self._watching(lambda name: name == "") as freed:
            while not await self._attempt():
                await self._clock.wait(freed, self._pause())
                freed.clear()
        leader = f"{config.namespace}/{config.name} {config.identity}"
        term = self.term = Term(leader, self._clock.monotonic, self._end_of_term())
        log.info("%s leads by lease %s/%s", config.identity, config.namespace, config.name)
        self._tell(True, "became leader")

        def taken_by(name: str) -> None:
            if name:
                term.end()

        try:
            with self._watching(lambda name: name != config.identity, taken_by) as disturbed:
                await self._lead(lead, term, disturbed)
        finally:
            term.end()
            self.term = None
            self._tell(False, "stopped leading")
            await self._release()

    async def _lead(self, lead: Lead, term: Term, disturbed: asyncio.Event) -> None:
        leading = tasks.detach(_as_coroutine(lead, term), f"leader {self.config.name}")
        try:
            await self._renew_while(leading, term, disturbed)
            leading.result()
        finally:
            term.end()  # before it is told to end: whatever it does on its way out, it does not act
            await tasks.cancel_and_wait(leading)

    async def _renew_while(self, leading: asyncio.Task[None], term: Term, disturbed: asyncio.Event) -> None:
        """A lease that somebody deleted or emptied is renewed at once: the server takes no write of ours until then."""
        config = self.config
        woken = asyncio.ensure_future(disturbed.wait())
        try:
            while True:
                await asyncio.wait([leading, woken], timeout=config.retry_seconds, return_when=asyncio.FIRST_COMPLETED)
                if leading.done():
                    return
                if woken.done():
                    disturbed.clear()
                    woken = asyncio.ensure_future(disturbed.wait())
                if term.may_act:
                    await self._renew(term)
                if not term.may_act or self._held_by_other():
                    term.end()
                    raise LeadershipLost(f"the lease {config.namespace}/{config.name} is lost")
        finally:
            await tasks.cancel_and_wait(woken)

    async def _renew(self, term: Term) -> None:
        """One try. A server that hangs must not carry the leader past the end of its term."""
        left = self.config.lease_seconds if self.config.sole else self._end_of_term() - self._clock.monotonic()
        try:
            async with asyncio.timeout(left):
                if await self._attempt():
                    term.extend(self._end_of_term())
        except TimeoutError:
            log.warning("the lease %s was not renewed: the API server did not answer", self.config.name)

    def _end_of_term(self) -> float:
        return math.inf if self.config.sole else self._renewed_at + self.config.renew_deadline_seconds

    # The lease

    async def _attempt(self) -> bool:
        """One try to take the lease or to renew it."""
        config, began = self.config, self._clock.monotonic()
        try:
            if self.term is not None and self._lease is not None and not self._ran_out():
                if await self._renewed_at_once(self._lease):
                    self._renewed_at = began
                    return True
                began = self._clock.monotonic()
            try:
                lease = await self._client.get(LEASES, config.name, config.namespace)
            except NotFound:
                self._remember(await self._client.create(LEASES, claim(config, None, self._now())))
            else:
                self._remember(lease)
                if self._held_by_other() and not self._ran_out():
                    return False
                began = self._clock.monotonic()
                self._remember(await self._client.update(LEASES, claim(config, lease, self._now())))
        except (Conflict, AlreadyExists):
            return False  # somebody was faster: the next look shows who
        except ApiError as error:
            log.warning("lease %s/%s: %s", config.namespace, config.name, error.message)
            return False
        self._renewed_at = began
        return True

    async def _renewed_at_once(self, lease: Obj) -> bool:
        """By what is known of the lease, without a look at it: the usual case. False: it has to be looked at."""
        try:
            self._remember(await self._client.update(LEASES, claim(self.config, lease, self._now())))
        except (Conflict, NotFound):
            if self._report is not None:
                self._report.slow_path(self.config.name)
            return False
        return True

    def _now(self) -> str:
        return format_micro_time(self._clock.now())

    def _remember(self, lease: Obj) -> None:
        if not says_the_same(self._lease, lease):
            self._seen_at = self._clock.monotonic()
        self._lease = lease

    def _held_by_other(self) -> bool:
        return holder(self._lease) not in ("", self.config.identity)

    def _runs_out_at(self) -> float:
        return self._seen_at + seconds_of(self._lease)

    def _ran_out(self) -> bool:
        return self._clock.monotonic() >= self._runs_out_at()

    def _pause(self) -> float:
        """Before the next try of a candidate that does not lead."""
        jittered = self.config.retry_seconds * (1 + JITTER * self._random.random())
        if not self._held_by_other():
            return jittered
        left = self._runs_out_at() - self._clock.monotonic() + _AFTER_ITS_END
        return min(jittered, left) if left > 0 else jittered

    @contextlib.contextmanager
    def _watching(
        self, interesting: Callable[[str], bool], tell: Callable[[str], None] = lambda name: None
    ) -> Iterator[asyncio.Event]:
        """The event is set, and ``tell`` called, with the commit that makes such a holder of the lease ("": nobody);
        only where the server's cache is in this process, else never."""
        config, seen = self.config, asyncio.Event()
        view = self._client.cache_view(LEASES)
        if view is None:
            yield seen
            return

        def changed(kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
            name = "" if kind == "DELETED" else holder(obj)
            if obj["metadata"]["name"] == config.name and interesting(name):
                tell(name)
                seen.set()

        stop = view.subscribe(changed, Part(namespace=config.namespace, name=config.name))
        try:
            own = self._lease
            if own is not None and view.revision() >= revision_of(own):
                # What became of it between the commit of our own claim and its answer nobody else tells.
                present = view.get(config.namespace, config.name)
                if present is None:
                    changed("DELETED", own, None, 0)
                elif revision_of(present) > revision_of(own):
                    changed("MODIFIED", present, None, 0)
            yield seen
        finally:
            stop()

    async def _release(self) -> None:
        """Gives the lease up at once, so that a successor need not wait it out. Bounded, best effort."""
        config = self.config
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = await self._client.get(LEASES, config.name, config.namespace)
                if holder(lease) == config.identity:
                    await self._client.update(LEASES, given_up(config, lease, self._now()))
        except (ApiError, TimeoutError) as error:
            log.info("the lease %s was not given back: %s", config.name, getattr(error, "message", "no answer"))

    def _tell(self, leads: bool, words: str) -> None:
        if self._report is None:
            return
        self._report.leading(self.config.name, leads)
        if self._lease is not None:
            self._report.event(self._lease, f"{self.config.identity} {words}")


async def _as_coroutine(lead: Lead, term: Term) -> None:
    await lead(term)
