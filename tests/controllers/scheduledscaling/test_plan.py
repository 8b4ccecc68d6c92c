"""Which rule of a ScheduledScaler holds, by the clock of a zone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.controllers.scheduledscaling import controller
from sampan.controllers.scheduledscaling.plan import MOST_RULES, Due, Fault, Plan, plan

Obj = dict[str, Any]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def scaler(*rules: tuple[str, str, int], zone: str = "", last: str = "", **spec: Any) -> Obj:
    """Made at the beginning of 2026, a Thursday."""
    listed = [{"name": name, "schedule": schedule, "replicas": replicas} for name, schedule, replicas in rules]
    status = {"lastScheduleTime": last} if last else {}
    whole = {"rules": listed, **({"timeZone": zone} if zone else {}), **spec}
    return {"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": whole, "status": status}


DAY = (("morning", "0 8 * * *", 10), ("evening", "0 18 * * *", 1))


@pytest.mark.parametrize(
    ("now", "due", "following"),
    [
        ("2026-01-01T07:59:59", None, Due(at("2026-01-01T08:00"), "morning", 10)),
        ("2026-01-01T08:00:00", Due(at("2026-01-01T08:00"), "morning", 10), Due(at("2026-01-01T18:00"), "evening", 1)),
        ("2026-01-01T19:00:00", Due(at("2026-01-01T18:00"), "evening", 1), Due(at("2026-01-02T08:00"), "morning", 10)),
        ("2026-03-05T12:00:00", Due(at("2026-03-05T08:00"), "morning", 10), Due(at("2026-03-05T18:00"), "evening", 1)),
    ],
)
def test_what_came_last_holds_and_what_comes_next_is_known(now: str, due: Due | None, following: Due) -> None:
    assert plan(scaler(*DAY), at(now)) == Plan(due, following)


def test_what_was_carried_out_is_not_due_again() -> None:
    made = scaler(*DAY, last="2026-01-01T08:00:00Z")
    assert plan(made, at("2026-01-01T12:00")).now is None
    found = plan(made, at("2026-01-01T18:00:01")).now
    assert found is not None and found.rule == "evening"


def test_the_clock_of_the_zone_is_meant_in_summer_too() -> None:
    made = scaler(*DAY, zone="Europe/Berlin", last="2026-01-01T00:00:00Z")
    winter, summer = plan(made, at("2026-01-15T07:00")).now, plan(made, at("2026-07-15T06:00")).now
    assert winter == Due(at("2026-01-15T07:00"), "morning", 10)
    assert summer == Due(at("2026-07-15T06:00"), "morning", 10)


def test_nothing_comes_at_weekends_that_is_for_weekdays() -> None:
    made = scaler(
        ("on", "0 8 * * mon-fri", 10), ("off", "0 18 * * mon-fri", 1), last="2026-01-09T18:00:00Z"
    )  # a Friday
    found = plan(made, at("2026-01-12T07:59"))
    assert found == Plan(None, Due(at("2026-01-12T08:00"), "on", 10))


def test_of_rules_that_come_together_the_last_one_holds() -> None:
    made = scaler(("a", "0 8 * * *", 1), ("b", "0 8 * * *", 2))
    found = plan(made, at("2026-01-01T08:00"))
    assert found.now == Due(at("2026-01-01T08:00"), "b", 2)
    assert found.following == Due(at("2026-01-02T08:00"), "b", 2)


def test_a_suspended_one_does_nothing_and_makes_up_for_it_later() -> None:
    assert plan(scaler(*DAY, suspend=True), at("2026-01-01T09:00")) == Plan()
    found = plan(scaler(*DAY, suspend=False), at("2026-01-03T09:00")).now
    assert found == Due(at("2026-01-03T08:00"), "morning", 10)


def test_a_rule_that_cannot_be_read_does_not_stop_the_others() -> None:
    found = plan(scaler(("bad", "61 * * * *", 3), *DAY), at("2026-01-01T09:00"))
    assert found.now is not None and found.now.rule == "morning"
    assert found.fault is not None
    assert found.fault == ("InvalidSchedule", "rule bad: end of range (61) above maximum (59): 61")


def test_a_zone_that_is_none() -> None:
    found = plan(scaler(*DAY, zone="Moon/Sea"), at("2026-01-01T09:00"))
    assert found == Plan(fault=Fault("InvalidTimeZone", "unknown time zone Moon/Sea"))


def test_what_comes_never() -> None:
    assert plan(scaler(("never", "0 0 30 2 *", 3)), at("2026-01-01T09:00")) == Plan()


def test_damaged_rules_are_left_out() -> None:
    made = scaler(*DAY)
    made["spec"]["rules"] += [{"name": "x", "schedule": "* * * * *"}, 7, {"replicas": -1, "schedule": "* * * * *"}]
    found = plan(made, at("2026-01-01T09:00")).now
    assert found is not None and found.rule == "morning"


def test_a_scaler_of_many_seldom_rules_leaves_the_loop_a_turn_after_each() -> None:
    """Together they take some hundred milliseconds."""
    rules = [(f"rule-{number}", f"{number % 60} {number // 60} 29 2 *", 1) for number in range(MOST_RULES)]
    turns = 0

    async def work() -> Plan:
        nonlocal turns
        planned = asyncio.ensure_future(controller._planned(scaler(*rules), at("2026-03-05T12:00")))
        while not planned.done():
            turns += 1
            await asyncio.sleep(0)
        return await planned

    assert asyncio.run(work()) == plan(scaler(*rules), at("2026-03-05T12:00"))
    assert turns >= MOST_RULES
