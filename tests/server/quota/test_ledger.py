"""The ledger alone: lost races, counts that are behind, and what is said when somebody does not fit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import Conflict
from sampan.api.quota import amounts
from sampan.api.quota.amounts import Amounts
from sampan.api.quota.charging import Demand, Limited, Refused, decide, demand_of
from sampan.api.quota.evaluators import evaluator_of
from sampan.server.admission.quota.ledger import Ledger, NamespaceLedger
from sampan.server.admission.quota.quotas import QuotaEntry
from sampan.store.protocol import RevisionConflict, StoreUnavailable

MAPS = ("", "configmaps")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryQuotas:
    """``Quotas`` in a dict. ``behind``: what the cache shows; ``meddle`` runs before the next commits, each once."""

    def __init__(self, **hard: str) -> None:
        self.revision = 10
        self.entries: dict[str, QuotaEntry] = {}
        self.behind: list[QuotaEntry] | None = None
        self.meddle: list[Any] = []
        for name, limit in hard.items():
            self.put(name, limit, "0")

    def put(self, name: str, limit: str, used: str) -> None:
        self.revision += 1
        status = {"hard": {"count/configmaps": limit}, "used": {"count/configmaps": used}}
        obj = {"metadata": {"name": name, "namespace": "n"}, "spec": {"hard": status["hard"]}, "status": status}
        self.entries[name] = QuotaEntry(name, obj, self.revision)

    def used(self, name: str) -> str:
        return str(self.entries[name].obj["status"]["used"]["count/configmaps"])

    def any(self, namespace: str) -> bool:
        return bool(self.entries)

    async def cached(self, namespace: str) -> list[QuotaEntry]:
        return self.behind if self.behind is not None else list(self.entries.values())

    async def newest(self, namespace: str) -> list[QuotaEntry]:
        return list(self.entries.values())

    async def newest_of(self, namespace: str, name: str) -> QuotaEntry | None:
        return self.entries.get(name)

    async def commit(self, current: QuotaEntry, used: Amounts) -> None:
        if self.meddle:
            self.meddle.pop(0)()
        present = self.entries.get(current.name)
        if present is None or present.revision != current.revision:
            raise RevisionConflict(current.key, current.revision, present.revision if present else 0)
        self.put(
            current.name, current.obj["status"]["hard"]["count/configmaps"], amounts.text(used["count/configmaps"])
        )


def config_map(name: str = "m") -> Demand:
    evaluator = evaluator_of(MAPS)
    assert evaluator is not None
    return demand_of(evaluator, {"metadata": {"name": name}}, None, NOW)


def ledger_of(quotas: MemoryQuotas) -> NamespaceLedger:
    return Ledger(quotas, FixedClock(NOW)).of("n")


def counted(ledger: NamespaceLedger, quota: Any, there: int, at: int) -> str:
    """What a count of so many objects at a revision becomes."""
    found = ledger.recounted(quota, {"count/configmaps": amounts.whole(there)}, {MAPS: at})
    return amounts.text(found["count/configmaps"])


async def charge(ledger: NamespaceLedger, dry_run: bool = False) -> Any:
    return await ledger.charge(config_map(), heavy=False, dry_run=dry_run)


async def test_a_charge_that_loses_a_race_is_held_against_what_the_quota_says_now() -> None:
    quotas = MemoryQuotas(q="3")
    quotas.meddle = [lambda: quotas.put("q", "5", "4")]
    ledger = ledger_of(quotas)
    outcomes = await asyncio.gather(charge(ledger), charge(ledger), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Taken", "Refused"]
    assert quotas.used("q") == "5"


async def test_what_a_write_gives_back_it_gives_back_though_its_request_ends_meanwhile() -> None:
    """A request's time is up, or its client has gone, in the moment its write did not happen."""
    quotas = MemoryQuotas(q="3")
    ledger = ledger_of(quotas)
    taken = await charge(ledger)
    async with ledger.alone():
        settling = asyncio.create_task(ledger.settle(taken, 0))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
    async with ledger.alone():  # comes after who waited before
        assert quotas.used("q") == "0"
        assert counted(ledger, quotas.entries["q"].obj, 0, 100) == "0"
        assert ledger._taken == {}


async def test_what_could_not_be_given_back_no_later_count_adds() -> None:
    quotas = MemoryQuotas(q="3")
    ledger = ledger_of(quotas)
    taken = await charge(ledger)
    quotas.meddle = [_fail]
    with pytest.raises(StoreUnavailable):
        await ledger.settle(taken, 0)
    assert counted(ledger, quotas.entries["q"].obj, 0, 100) == "0"


async def test_a_store_that_fails_while_one_is_given_back_leaves_the_others_their_answer() -> None:
    quotas = MemoryQuotas(a="5", b="5")
    quotas.meddle = [lambda: None, lambda: quotas.put("b", "1", "0"), lambda: None, _fail]
    ledger = ledger_of(quotas)
    outcomes = await asyncio.gather(charge(ledger), charge(ledger), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Refused", "Taken"]


def _fail() -> None:
    raise StoreUnavailable("the disk is full")


async def test_who_is_refused_by_one_quota_after_a_lost_race_is_given_back_by_the_others() -> None:
    quotas = MemoryQuotas(a="5", b="5")
    quotas.meddle = [lambda: None, lambda: quotas.put("b", "1", "1")]
    with pytest.raises(Refused, match="exceeded quota: b"):
        await charge(ledger_of(quotas))
    assert (quotas.used("a"), quotas.used("b")) == ("0", "1")


async def test_a_quota_that_vanishes_meanwhile_limits_nobody() -> None:
    quotas = MemoryQuotas(q="1")
    quotas.meddle = [quotas.entries.clear]
    assert await charge(ledger_of(quotas)) is not None


async def test_nobody_is_refused_for_what_the_cache_shows() -> None:
    quotas = MemoryQuotas(q="1")
    quotas.put("q", "1", "1")
    quotas.behind = await quotas.cached("n")
    quotas.put("q", "1", "0")
    assert await charge(ledger_of(quotas)) is not None
    assert quotas.used("q") == "1"


async def test_a_count_keeps_what_was_not_there_yet() -> None:
    """Of four writes one is under way, one was stored after the count, one before it, and one did not happen."""
    quotas = MemoryQuotas(q="9")
    ledger = ledger_of(quotas)
    under_way, late, early, failed = [await charge(ledger) for _ in range(4)]
    await ledger.settle(late, 21)
    await ledger.settle(early, 19)
    await ledger.settle(failed, 0)
    assert quotas.used("q") == "3"
    quota = quotas.entries["q"].obj
    async with ledger.alone():
        assert counted(ledger, quota, 1, 20) == "3"
        ledger.counted({MAPS: 20})
        assert counted(ledger, quota, 2, 21) == "3"
        with pytest.raises(Conflict, match="older than what has been written since"):
            counted(ledger, quota, 0, 18)
    await ledger.settle(under_way, 0)
    assert quotas.used("q") == "2"


async def test_a_quota_that_came_later_gets_what_is_under_way_and_no_count_older_than_what_was_stored() -> None:
    quotas = MemoryQuotas(q="9")
    ledger = ledger_of(quotas)
    under_way, stored = await charge(ledger), await charge(ledger)
    quotas.put("new", "5", "0")
    new = quotas.entries["new"].obj
    assert counted(ledger, new, 0, 20) == "2"
    await ledger.settle(stored, 25)
    with pytest.raises(Conflict):
        counted(ledger, new, 0, 24)
    assert counted(ledger, new, 1, 25) == "2"
    await ledger.settle(under_way, 26)


async def test_of_a_finished_write_the_object_is_forgotten() -> None:
    ledger = ledger_of(MemoryQuotas(q="9"))
    taken = await charge(ledger)
    await ledger.settle(taken, 20)
    assert taken.demand is None


async def test_what_is_remembered_of_finished_writes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.server.admission.quota.ledger._REMEMBERED", 3)
    quotas = MemoryQuotas(q="99")
    ledger = ledger_of(quotas)
    for revision in range(100, 110):
        await ledger.settle(await charge(ledger), revision)
    quota = quotas.entries["q"].obj
    assert counted(ledger, quota, 7, 106) == "10"
    with pytest.raises(Conflict):
        counted(ledger, quota, 6, 105)


async def test_a_store_that_fails_fails_those_who_wait_and_no_later_ones() -> None:
    quotas = MemoryQuotas(q="5")

    def fail() -> None:
        raise OSError("disk full")

    quotas.meddle = [fail]
    ledger = ledger_of(quotas)
    with pytest.raises(OSError, match="disk full"):
        await charge(ledger)
    assert await charge(ledger) is not None


async def test_a_write_that_is_given_up_while_it_waits_is_charged_nothing() -> None:
    quotas = MemoryQuotas(q="5")
    ledger = ledger_of(quotas)
    async with ledger.alone():
        waiting = asyncio.ensure_future(charge(ledger))
        for _ in range(3):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await charge(ledger)
    assert quotas.used("q") == "1"


async def test_many_quotas_keep_nobody_else_waiting() -> None:
    """Writes that are held against hundreds of limits are worked on one by one, with others' turns between."""
    ledger = ledger_of(MemoryQuotas(**{f"q{index}": "100" for index in range(300)}))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(others())
    assert None not in await asyncio.gather(*(charge(ledger) for _ in range(20)))
    watching.cancel()
    assert turns > 20


# Limits on what may be used at all


def pod(**spec: Any) -> Demand:
    evaluator = evaluator_of(("", "pods"))
    assert evaluator is not None
    containers = [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]
    return demand_of(evaluator, {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}, None, NOW)


def test_what_is_limited_by_configuration_needs_a_quota() -> None:
    rule = Limited(("", "pods"), contains=("requests.cpu",))
    with pytest.raises(Refused, match=r"^insufficient quota to consume: requests.cpu$"):
        decide(pod(), [], [rule])
    assert decide(pod(), [], [Limited(("", "services"), contains=("requests.cpu",))]).charges == {}


def test_a_scope_that_is_limited_by_configuration_needs_a_quota_of_that_scope() -> None:
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["high", "top"]}
    rule = Limited(("", "pods"), scopes=(term,))
    with pytest.raises(
        Refused, match=r"^insufficient quota to match these scopes: \[{PriorityClass In \[high top\]}\]$"
    ):
        decide(pod(priorityClassName="high"), [], [rule])
    assert decide(pod(priorityClassName="low"), [], [rule]).charges == {}


async def test_a_charge_that_cannot_be_given_back_is_not_added_to_later_counts() -> None:
    quotas = MemoryQuotas(q="3")
    ledger = ledger_of(quotas)
    taken = await charge(ledger)

    def full() -> None:
        raise OSError("the disk is full")

    quotas.meddle = [full]
    with pytest.raises(OSError, match="disk"):
        await ledger.settle(taken, 0)
    assert counted(ledger, quotas.entries["q"].obj, 0, 30) == "0"
    assert ledger.is_idle
