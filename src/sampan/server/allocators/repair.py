"""Brings the records of addresses and ports and the Services back together (upstream: the repair controllers of
ipallocator and portallocator).

``plan_repair`` decides and is pure; ``Repair`` acts: one pass at start, then one every few minutes, and at once when a
record that a Service needs is deleted. Any number of servers may do so at the same time: every step is a
compare-and-swap, and what looks wrong is touched only after it looked so for ``GRACE_SECONDS``, longer than a write
may take between its records and its Service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from functools import partial
from itertools import chain, islice
from typing import Literal

from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.allocators.records import AlreadyAllocated, Owner, Record, Records
from sampan.server.storage import ResourceStorage
from sampan.store.protocol import EntryDamaged

GRACE_SECONDS = 60.0
INTERVAL_SECONDS = 180.0
#: steps that are under way at the same time, so that the store commits them together
_BATCH = 64
#: between two passes: a storm of deletions costs a pass a second
_PAUSE_SECONDS = 1.0
#: objects looked at before others may run
_CHUNK = 100

Fault = Literal["missing", "wrong", "clashing", "out of range", "leaked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pass found of one number. ``owner``: the Service that it concerns, None where there is none to name."""

    fault: Fault
    name: str
    owner: Owner | None


@dataclass(slots=True)
class Plan:
    """``suspects``: records that nobody claims, by (name, revision), and when that was first seen."""

    missing: list[tuple[str, Owner]] = field(default_factory=list)
    wrong: list[tuple[Record, Owner]] = field(default_factory=list)
    leaked: list[Record] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    suspects: dict[tuple[str, int], float] = field(default_factory=dict)

    def add(self, other: Plan) -> None:
        self.missing += other.missing
        self.wrong += other.wrong
        self.leaked += other.leaked
        self.findings += other.findings
        self.suspects |= other.suspects


def plan_repair(
    claims: Mapping[str, Sequence[Owner]],
    records: Mapping[str, Record],
    unreadable: Collection[Owner],
    suspects: Mapping[tuple[str, int], float],
    now: float,
    *,
    in_range: Callable[[str], bool],
    reserved: Callable[[str], bool],
) -> Plan:
    """What to do about the records of one pool. Pure; ``now`` is of the loop's clock, as ``suspects`` are. Each number
    is decided by itself, so that a pass may take them in parts.

    ``claims``: by number, the Services that say it is theirs, oldest first. ``unreadable``: Services that are there but
    cannot be read: what they hold stays.
    """
    plan = Plan()

    def suspect(record: Record) -> bool:
        """Whether it has been one for long enough."""
        seen = suspects.get((record.name, record.revision), now)
        plan.suspects[record.name, record.revision] = seen
        return now - seen >= GRACE_SECONDS

    for name, owners in claims.items():
        record = records.get(name)
        holder = next((owner for owner in owners if record is not None and record.owner == owner), owners[0])
        plan.findings += [Finding("clashing", name, owner) for owner in owners if owner != holder]
        if record is None and not in_range(name):
            plan.findings.append(Finding("out of range", name, holder))
        elif record is None:
            plan.missing.append((name, holder))
            plan.findings.append(Finding("missing", name, holder))
        elif record.owner != holder and record.owner not in unreadable and suspect(record):
            plan.wrong.append((record, holder))
            plan.findings.append(Finding("wrong", name, holder))
    for name, record in records.items():
        if name in claims or not record.managed or reserved(name) or record.owner in unreadable:
            continue
        if suspect(record):
            plan.leaked.append(record)
            plan.findings.append(Finding("leaked", name, record.owner))
    return plan


@dataclass(slots=True)
class Claims:
    """What stored Services say is theirs. ``by_name``: one mapping a pool; ``unreadable``: see ``plan_repair``."""

    by_name: list[dict[str, list[Owner]]]
    unreadable: set[Owner] = field(default_factory=set)


class Services:
    """The stored Services, as a pass looks at them."""

    def __init__(self, storage: ResourceStorage) -> None:
        self._storage = storage

    @property
    def version(self) -> int:
        """Another one whenever a Service changed."""
        return self._storage.cache.version()

    async def read(self, parts: Sequence[Repaired]) -> Claims:
        """Of all Services, the oldest first where several claim one number. Others run in between."""
        found = Claims([{} for _ in parts])
        born: dict[Owner, int] = {}
        shared: list[list[Owner]] = []
        for count, entry in enumerate(self._storage.cache.entries(), 1):
            namespace, _, name = entry.key[len(self._storage.prefix) :].partition("/")
            owner = Owner(namespace, name)
            if entry.damaged:
                found.unreadable.add(owner)
            else:
                service = entry.object()
                for part, by_name in zip(parts, found.by_name, strict=True):
                    for number in part.names(service):
                        owners = by_name.setdefault(number, [])
                        owners.append(owner)
                        born[owner] = entry.created
                        if len(owners) == 2:
                            shared.append(owners)
            if not count % _CHUNK:
                await asyncio.sleep(0)
        for owners in shared:
            owners.sort(key=born.__getitem__)
        return found

    async def claims(self, owner: Owner, holds: Callable[[Obj], bool]) -> bool:
        """Whether the Service is there and says so; asked of the store, not of a cache that may be behind."""
        entry = await self._storage.fresh(self._storage.key(owner.namespace, owner.name))
        if entry is None:
            return False
        try:
            return holds(self._storage.decode(entry.value, entry.revision))
        except (EntryDamaged, ValueError):
            return True  # it cannot be asked: nobody takes anything from it


@dataclass(slots=True)
class Repaired:
    """One pool under repair: ``names`` are the records that a Service should have."""

    records: Records
    names: Callable[[Obj], Iterable[str]]
    in_range: Callable[[str], bool]
    reserved: Callable[[str], bool]
    suspects: dict[tuple[str, int], float] = field(default_factory=dict)

    async def run_pass(
        self, services: Services, claims: Mapping[str, Sequence[Owner]], unreadable: Collection[Owner], now: float
    ) -> list[Finding]:
        """Raises StoreError."""
        records: dict[str, Record] = {}
        for count, record in enumerate(self.records, 1):
            records[record.name] = record
            if not count % _CHUNK:
                await asyncio.sleep(0)
        plan = Plan()
        names = chain(claims, (name for name in records if name not in claims))
        while chunk := tuple(islice(names, _CHUNK)):
            plan.add(
                plan_repair(
                    {name: claims[name] for name in chunk if name in claims},
                    {name: records[name] for name in chunk if name in records},
                    unreadable,
                    self.suspects,
                    now,
                    in_range=self.in_range,
                    reserved=self.reserved,
                )
            )
            await asyncio.sleep(0)
        self.suspects = plan.suspects
        steps = [
            *(partial(self._give, services, name, owner) for name, owner in plan.missing),
            *(partial(self._correct, services, record, owner) for record, owner in plan.wrong),
            *(partial(self._remove, services, record) for record in plan.leaked),
        ]
        for start in range(0, len(steps), _BATCH):
            await asyncio.gather(*(step() for step in steps[start : start + _BATCH]))
        return plan.findings

    async def _give(self, services: Services, name: str, owner: Owner) -> None:
        if await self._claims(services, owner, name):
            try:
                await self.records.take(name, owner)
            except AlreadyAllocated:
                return  # another server was first, or somebody else: the next pass tells them apart

    async def _correct(self, services: Services, record: Record, owner: Owner) -> None:
        held = record.owner is not None and await self._claims(services, record.owner, record.name)
        if not held and await self._claims(services, owner, record.name):
            await self.records.rewrite(record.name, record.revision, owner)

    async def _remove(self, services: Services, record: Record) -> None:
        if record.owner is None or not await self._claims(services, record.owner, record.name):
            await self.records.remove(record.name, record.revision)

    async def _claims(self, services: Services, owner: Owner, name: str) -> bool:
        return await services.claims(owner, lambda service: name in self.names(service))


class Repair:
    def __init__(self, services: Services, parts: Sequence[Repaired]) -> None:
        self._services, self._parts = services, parts
        self._wake = asyncio.Event()
        #: what the last pass looked at, and found
        self._seen: tuple[int, ...] = ()
        self._findings: list[Finding] = []

    def wake(self) -> None:
        """A pass is due at once."""
        self._wake.set()

    async def due(self) -> None:
        """Waits until a pass should run."""
        await asyncio.sleep(_PAUSE_SECONDS)
        try:
            async with asyncio.timeout(INTERVAL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def run_pass(self) -> list[Finding]:
        """What is wrong now, also what was so before. Looks only when something changed. Raises StoreError."""
        seen = (self._services.version, *(part.records.version for part in self._parts))
        if seen == self._seen and not any(part.suspects for part in self._parts):
            return self._findings
        found = await self._services.read(self._parts)
        now = asyncio.get_running_loop().time()
        findings: list[Finding] = []
        for part, claims in zip(self._parts, found.by_name, strict=True):
            findings += await part.run_pass(self._services, claims, found.unreadable, now)
        self._seen, self._findings = seen, findings
        return findings
