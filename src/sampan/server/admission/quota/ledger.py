"""Who has been charged what: exact under any number of writers, because a charge is a commit of the quota's status.

The writes of a namespace are charged together, as many as wait, by one commit of each quota (upstream does the same).
A charge is *taken* until the controller's count shows what it was for: a count that is older leaves it in
(``recounted``), and a write that did not happen gives it back (``release``). All of it is serial within a namespace.
Charges of other API servers on the same store are exact too, for commits compare; what they have under way is not known
here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import field, replace
from typing import Final

from sampan.api import errors
from sampan.api.clock import Clock
from sampan.api.quota import amounts
from sampan.api.quota.amounts import Amounts
from sampan.api.quota.charging import Demand, Limited, Refused, Standing, decide
from sampan.api.quota.evaluators import Evaluator, Resource
from sampan.api.quota.scopes import covers
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.quota.quotas import QuotaEntry, Quotas
from sampan.server.threads import paced
from sampan.store.protocol import RevisionConflict, StoreUnavailable

#: how many writes are charged by one commit
_BATCH: Final = 64
#: a write that is held against more limits than this is a thread's: whoever makes many quotas waits for them alone
_MANY_LIMITS: Final = 64
#: quotas that are read in one turn of the loop
_STEP: Final = 20
#: lost races in a row after which a charge gives up
_ATTEMPTS: Final = 64
#: how long a write waits for its charge; upstream's
SECONDS: Final = 10.0
#: how many charges of a namespace that are done are remembered for counts that are behind
_REMEMBERED: Final = 1024


Considered = Mapping[str, frozenset[str]]


@dataclass(slots=True, eq=False)
class Taken:
    """``charges`` by name of the quota. ``revision`` of the write's commit; 0: it is under way.

    ``considered``: the quotas it was held against, with the resources they limited then. ``demand`` is forgotten with
    the end of the write: an object may be long.
    """

    evaluator: Evaluator
    demand: Demand | None
    charges: dict[str, Amounts]
    considered: Considered
    revision: int = 0

    def is_in(self, at: Mapping[Resource, int]) -> bool:
        """Whether a count of what was there at these revisions has it."""
        return 0 < self.revision <= at.get(self.evaluator.resource, 0)

    def adds_to(self, quota: Obj, counted: Amounts) -> Amounts | None:
        """What of these resources it adds to a quota; None: that is not known any more."""
        name = text(part(quota, "metadata"), "name")
        if counted.keys() <= self.considered.get(name, frozenset()):
            return amounts.mask(self.charges.get(name, amounts.NOTHING), counted)
        matching = self.evaluator.matching(counted)
        if not matching:
            return amounts.NOTHING
        if self.demand is None:
            return None
        inside = covers(quota, self.evaluator, self.demand.obj)
        return amounts.mask(self.demand.of(quota), matching) if inside else amounts.NOTHING


@dataclass(slots=True, eq=False)
class _Waiter:
    demand: Demand
    heavy: bool
    dry_run: bool
    answer: asyncio.Future[Taken | None]
    #: what it is to be charged, and what of that has been committed
    charges: dict[str, Amounts] = field(default_factory=dict)
    paid: dict[str, Amounts] = field(default_factory=dict)
    considered: Considered = field(default_factory=dict)
    refused: Refused | None = None

    @property
    def takes(self) -> bool:
        return self.refused is None and not self.dry_run

    def taken(self) -> Taken:
        return Taken(self.demand.evaluator, self.demand, self.paid, self.considered)


class NamespaceLedger:
    """Invariant: ``_taken`` holds every charge that a count of what was there at some revision may not show."""

    def __init__(self, namespace: str, quotas: Quotas, limited: tuple[Limited, ...]) -> None:
        self._namespace, self._quotas, self._limited = namespace, quotas, limited
        self._lock = asyncio.Lock()
        self._waiting: list[_Waiter] = []
        self._worker: asyncio.Task[None] | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._taken: dict[Taken, None] = {}
        #: by resource: counts of what was there before it have nothing here any more to complete them
        self._floors: dict[Resource, int] = {}

    @property
    def is_idle(self) -> bool:
        return self._worker is None and not self._lock.locked() and all(taken.revision for taken in self._taken)

    async def charge(self, demand: Demand, *, heavy: bool, dry_run: bool) -> Taken | None:
        """What was taken, which ``settle`` has to be told the end of; None: nothing. Raises Refused, InternalError."""
        waiter = _Waiter(demand, heavy, dry_run, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(), name="charge quotas")
        try:
            async with asyncio.timeout(SECONDS):
                return await waiter.answer
        except BaseException as error:
            self._give_up(waiter)
            if isinstance(error, TimeoutError):
                raise errors.InternalError("resource quota evaluation timed out") from None
            raise

    def _give_up(self, waiter: _Waiter) -> None:
        """Nobody hears the answer: what it may have given goes back, or else it is never given."""
        answer = waiter.answer
        if not answer.done():
            answer.cancel()
        elif not answer.cancelled() and answer.exception() is None and (taken := answer.result()) is not None:
            self._begin_release(taken)

    def _begin_release(self, taken: Taken) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._release(taken), name="give back quota")
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    async def settle(self, taken: Taken, revision: int) -> None:
        """The write was committed at this revision; 0: it did not happen."""
        if not revision:
            await asyncio.shield(self._begin_release(taken))  # whoever stops waiting for it does not stop it
            return
        taken.revision, taken.demand = revision, None
        self._taken.pop(taken, None)
        self._taken[taken] = None  # in the order of their ends
        if len(self._taken) > _REMEMBERED:
            self._forget([one for one in self._taken if one.revision][: len(self._taken) - _REMEMBERED])

    async def _release(self, taken: Taken) -> None:
        async with self._lock:
            try:
                for name, charge in taken.charges.items():
                    await self._give_back(name, charge)
            finally:
                # What could not be given back, the next count takes off: it must not be completed with it.
                self._taken.pop(taken, None)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody is charged meanwhile."""
        async with self._lock:
            yield

    def recounted(self, quota: Obj, counted: Amounts, at: Mapping[Resource, int]) -> Amounts:
        """A count of what was there at these revisions, by resource, with what has been taken and was not there yet.

        Only ``alone``. Raises Conflict: the count is too old to be completed.
        """
        if any(revision < self._floors.get(resource, 0) for resource, revision in at.items()):
            raise _too_old(quota)
        used = dict(counted)
        later = (taken for taken in self._taken if not taken.is_in(at))
        for more in (taken.adds_to(quota, counted) for taken in later):
            if more is None:
                raise _too_old(quota)
            used = amounts.add(used, more)
        return used

    def counted(self, at: Mapping[Resource, int]) -> None:
        """Every quota's next count is at least of these revisions."""
        self._forget([taken for taken in self._taken if taken.is_in(at)])

    def _forget(self, found: Iterable[Taken]) -> None:
        for taken in found:
            resource = taken.evaluator.resource
            self._floors[resource] = max(self._floors.get(resource, 0), taken.revision)
            del self._taken[taken]

    # The work

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                async with self._lock:
                    await self._charge_all(batch)
        finally:
            self._worker = None
            for waiter in self._waiting:  # only if this was cancelled
                waiter.answer.cancel()

    async def _charge_all(self, batch: list[_Waiter]) -> None:
        """Answers each. What fails is every waiter's own failure."""
        try:
            await self._decide(batch)
        except Exception as error:
            for waiter in batch:
                if not waiter.answer.done():
                    waiter.answer.set_exception(error)
            return
        for waiter in batch:
            taken = waiter.taken() if waiter.takes else None
            if taken is None or waiter.answer.done():  # refused, or given up
                for name, charge in waiter.paid.items():
                    with contextlib.suppress(StoreUnavailable):  # then the next count does
                        await self._give_back(name, charge)
            if waiter.answer.done():
                continue
            if waiter.refused is not None:
                waiter.answer.set_exception(waiter.refused)
            else:
                if taken is not None:
                    self._taken[taken] = None
                waiter.answer.set_result(taken)

    async def _decide(self, batch: list[_Waiter]) -> None:
        """Fills ``paid`` and ``refused`` of each."""
        entries = await self._quotas.cached(self._namespace)
        standings = await _standings(entries)
        if await self._hold_against(batch, dict(standings)):
            # Nobody is refused for what a cache shows, which may be behind.
            entries = await self._quotas.newest(self._namespace)
            standings = await _standings(entries)
            await self._hold_against(batch, dict(standings))
        for entry in entries:
            await self._commit(entry, standings[entry.name], batch)

    async def _hold_against(self, batch: list[_Waiter], standings: dict[str, Standing]) -> bool:
        """Decides on each in turn, as if those before it had been charged. True: somebody is refused."""
        considered = {name: frozenset(standing.hard) for name, standing in standings.items()}
        many = sum(len(standing.hard) + 1 for standing in standings.values()) > _MANY_LIMITS
        for waiter in batch:
            waiter.charges, waiter.refused, waiter.considered = {}, None, considered
            try:
                found = await paced(
                    waiter.heavy or many, decide, waiter.demand, list(standings.values()), self._limited
                )
            except Refused as error:
                waiter.refused = error
                continue
            if waiter.dry_run:
                continue
            waiter.charges = dict(found.charges)
            for name, charge in found.charges.items():
                standings[name] = replace(standings[name], used=amounts.add(standings[name].used, charge))
        return any(waiter.refused for waiter in batch)

    async def _commit(self, entry: QuotaEntry, standing: Standing, batch: list[_Waiter]) -> None:
        """One commit for all who are charged to a quota; after a lost race each is held against it again."""
        current: QuotaEntry | None = entry
        for _ in range(_ATTEMPTS):
            charged = [waiter for waiter in batch if waiter.takes and waiter.charges.get(entry.name)]
            if not charged:
                return
            if current is None:  # it is gone, and so is its limit
                for waiter in charged:
                    del waiter.charges[entry.name]
                return
            used = standing.used
            for waiter in charged:
                used = amounts.add(used, waiter.charges[entry.name])
            try:
                await self._quotas.commit(current, used)
            except RevisionConflict:
                current = await self._quotas.newest_of(self._namespace, entry.name)
                if current is not None:
                    standing = Standing.of(current.obj)
                    _hold_again(charged, standing)
            else:
                for waiter in charged:
                    waiter.paid[entry.name] = waiter.charges[entry.name]
                return
        raise errors.conflict("resourcequotas", entry.name)

    async def _give_back(self, name: str, charge: Amounts) -> None:
        for _ in range(_ATTEMPTS):
            current = await self._quotas.newest_of(self._namespace, name)
            if current is None:
                return
            used = Standing.of(current.obj).used
            less = amounts.subtract(used, charge)
            if amounts.same(less, used):
                return
            try:
                await self._quotas.commit(current, less)
                return
            except RevisionConflict:
                continue


def _too_old(quota: Obj) -> errors.Conflict:
    name = text(part(quota, "metadata"), "name")
    return errors.conflict("resourcequotas", name, detail="the count is older than what has been written since")


async def _standings(entries: list[QuotaEntry]) -> dict[str, Standing]:
    """By name. Of many quotas some a turn of the loop."""
    found: dict[str, Standing] = {}
    for index, entry in enumerate(entries):
        if index % _STEP == _STEP - 1:
            await asyncio.sleep(0)
        found[entry.name] = Standing.of(entry.obj)
    return found


def _hold_again(charged: list[_Waiter], standing: Standing) -> None:
    """Those who no longer fit are refused; the others' charges are what the quota now says."""
    for waiter in charged:
        try:
            found = decide(waiter.demand, [standing])
        except Refused as error:
            waiter.refused = error
            continue
        charge = found.charges.get(standing.name, amounts.NOTHING)
        waiter.considered = {**waiter.considered, standing.name: frozenset(standing.hard)}
        waiter.charges[standing.name] = charge
        standing = replace(standing, used=amounts.add(standing.used, charge))


class Ledger:
    """The ledgers of all namespaces that have quotas."""

    def __init__(self, quotas: Quotas, clock: Clock, limited: tuple[Limited, ...] = ()) -> None:
        self.quotas, self.clock, self._limited = quotas, clock, limited
        self._namespaces: dict[str, NamespaceLedger] = {}

    @property
    def limits_all(self) -> bool:
        """Something is limited where there is no quota, too."""
        return bool(self._limited)

    def of(self, namespace: str) -> NamespaceLedger:
        found = self._namespaces.get(namespace)
        if found is None:
            self._drop_idle()
            found = self._namespaces[namespace] = NamespaceLedger(namespace, self.quotas, self._limited)
        return found

    def _drop_idle(self) -> None:
        """Of namespaces that have no quota any more."""
        for namespace in [n for n, ledger in self._namespaces.items() if not self.quotas.any(n) and ledger.is_idle]:
            del self._namespaces[namespace]
