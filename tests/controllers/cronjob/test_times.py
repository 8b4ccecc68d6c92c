"""When schedules fall due: upstream's own cases, and a year of minutes looked at one by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.groups.batch import schedule
from sampan.controllers.workload.times import Times, times_of

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 365 * 24 * 60
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def times(written: str, zone: str = "") -> Times:
    return times_of(schedule.parse(written), zone)


NEW_YORK = [
    # The clock goes forward: from 2 to 3.
    ("2012-03-11T00:00:00-05:00", "0 * * * ?", "2012-03-11T01:00:00-05:00"),
    ("2012-03-11T01:00:00-05:00", "0 * * * ?", "2012-03-11T03:00:00-04:00"),
    ("2012-03-11T03:00:00-04:00", "0 * * * ?", "2012-03-11T04:00:00-04:00"),
    ("2012-03-11T00:00:00-05:00", "0 1 * * ?", "2012-03-11T01:00:00-05:00"),
    ("2012-03-11T01:00:00-05:00", "0 1 * * ?", "2012-03-12T01:00:00-04:00"),
    ("2012-03-11T00:00:00-05:00", "0 2 * * ?", "2012-03-12T02:00:00-04:00"),
    ("2012-03-11T00:00:00-05:00", "30 2 11 Mar ?", "2013-03-11T02:30:00-04:00"),
    # And back: from 2 to 1.
    ("2012-11-04T00:00:00-04:00", "30 2 04 Nov ?", "2012-11-04T02:30:00-05:00"),
    ("2012-11-04T01:45:00-04:00", "30 1 04 Nov ?", "2012-11-04T01:30:00-05:00"),
    ("2012-11-04T00:00:00-04:00", "0 * * * ?", "2012-11-04T01:00:00-04:00"),
    ("2012-11-04T01:00:00-04:00", "0 * * * ?", "2012-11-04T01:00:00-05:00"),
    ("2012-11-04T01:00:00-05:00", "0 * * * ?", "2012-11-04T02:00:00-05:00"),
    ("2012-11-04T00:00:00-04:00", "0 1 * * ?", "2012-11-04T01:00:00-04:00"),
    ("2012-11-04T01:00:00-04:00", "0 1 * * ?", "2012-11-04T01:00:00-05:00"),
    ("2012-11-04T01:00:00-05:00", "0 1 * * ?", "2012-11-05T01:00:00-05:00"),
    ("2012-11-04T02:00:00-05:00", "0 2 * * ?", "2012-11-05T02:00:00-05:00"),
    ("2012-11-04T00:00:00-04:00", "0 3 * * ?", "2012-11-04T03:00:00-05:00"),
    # Of two years, each clock's own: the second coming of one is not the first of the next.
    ("2012-11-04T01:30:00-05:00", "30 1 3 11 *", "2013-11-03T01:30:00-04:00"),
]  # fmt: skip


@pytest.mark.parametrize(("after", "written", "due"), NEW_YORK)
def test_clocks_that_change_are_followed_as_upstream_does(after: str, written: str, due: str) -> None:
    for found in (times(written, "America/New_York"), times(f"TZ=America/New_York {written}", "Europe/Berlin")):
        assert found.after(moment(after)) == moment(due)


@pytest.mark.parametrize(
    ("written", "due"),
    [
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@annually", "2027-01-01T00:00:00Z"),
        ("@monthly", "2026-08-01T00:00:00Z"),
        ("@weekly", "2026-07-12T00:00:00Z"),
        ("@daily", "2026-07-10T00:00:00Z"),
        ("@midnight", "2026-07-10T00:00:00Z"),
        ("@hourly", "2026-07-09T15:00:00Z"),
        ("@every 1h30m", "2026-07-09T16:15:30Z"),
        ("@every 90s", "2026-07-09T14:47:00Z"),
        ("@every 1ms", "2026-07-09T14:45:31Z"),
        ("@every -5m", "2026-07-09T14:45:31Z"),
        ("CRON_TZ=Asia/Kolkata 0 21 * * *", "2026-07-09T15:30:00Z"),
        ("TZ=Local 0 21 * * *", "2026-07-09T21:00:00Z"),
        ("TZ=Asia/Tokyo @daily", "2026-07-09T15:00:00Z"),
        # A star with a step is a list: the 1st, 11th, 21st and 31st, or a Monday.
        ("0 0 */10 * mon", "2026-07-11T00:00:00Z"),
        ("0 0 * * mon", "2026-07-13T00:00:00Z"),
        ("0 0 12 * ?", "2026-07-12T00:00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 31 2 *", None),
        (", * * * *", None),
    ],
)
def test_descriptors_zones_and_days_mean_what_they_mean_upstream(written: str, due: str | None) -> None:
    found = times(written).after(moment("2026-07-09T14:45:30.25Z"))
    assert found == (None if due is None else moment(due))


def test_the_end_of_time_is_no_fault() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    assert times("0 * * * *").after(end) is None
    assert times("0 * * * *", "Europe/Berlin").after(end) is None
    assert times("@every 2000000h").after(end) is None


# -- a year of minutes -------------------------------------------------------------------------------------------


@cache
def shown(zone: str) -> np.ndarray:
    """What the clock of the zone shows at each minute of the year: minute, hour, day, month, day of the week."""
    clock = ZoneInfo(zone)
    halves = []  # no zone of these changes but at half hours
    for minute in range(0, MINUTES, 30):
        local = (START + timedelta(minutes=minute)).astimezone(clock)
        halves.append((local.minute, local.hour, local.day, local.month, local.isoweekday() % 7))
    rows = np.repeat(np.array(halves, dtype=np.int8), 30, axis=0)
    rows[:, 0] += np.tile(np.arange(30, dtype=np.int8), len(halves))
    return rows


@dataclass(frozen=True)
class Written:
    text: str
    values: frozenset[int]
    star: bool


def fields(low: int, high: int) -> st.SearchStrategy[Written]:
    number = st.integers(low, high)
    single = number.map(lambda one: (str(one), {one}, False))
    span = st.tuples(number, number, st.integers(1, 20)).map(
        lambda ends: (
            f"{min(ends[:2])}-{max(ends[:2])}/{ends[2]}", set(range(min(ends[:2]), max(ends[:2]) + 1, ends[2])), False,
        )
    )  # fmt: skip
    star = st.sampled_from("*?").map(lambda one: (one, set(range(low, high + 1)), True))
    step = st.integers(2, high).map(lambda each: (f"*/{each}", set(range(low, high + 1, each)), False))
    onward = st.tuples(number, st.integers(1, 20)).map(
        lambda pair: (f"{pair[0]}/{pair[1]}", set(range(pair[0], high + 1, pair[1])), False)
    )
    part = st.one_of(single, star, star, span, step, onward)
    return st.lists(part, min_size=1, max_size=2).map(
        lambda found: Written(
            ",".join(text for text, _, _ in found),
            frozenset().union(*(values for _, values, _ in found)),
            any(star for _, _, star in found),
        )
    )


SCHEDULES = st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 6))


def due_by_hand(written: tuple[Written, ...], zone: str) -> np.ndarray:
    """The minutes of the year at which the clock shows what the fields ask for."""
    table = shown(zone)
    minute, hour, day, month, weekday = (
        np.isin(table[:, number], list(each.values)) for number, each in enumerate(written)
    )
    days = day & weekday if written[2].star or written[4].star else day | weekday
    found: np.ndarray = np.flatnonzero(minute & hour & days & month)
    return found


@settings(max_examples=10, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES), st.integers(0, MINUTES - 1), st.integers(0, 59))
def test_every_time_of_a_year_comes_when_the_clock_shows_it(
    written: tuple[Written, ...], zone: str, start: int, second: int
) -> None:
    found = times(" ".join(each.text for each in written), zone)
    wanted = due_by_hand(written, zone)
    offsets = [clock_changes(zone)[0] - 130, clock_changes(zone)[1] - 130, start]
    for begin in offsets:
        at = START + timedelta(minutes=begin, seconds=second)
        for minute in wanted[wanted > begin][:25]:
            due = found.after(at)
            assert due == START + timedelta(minutes=int(minute))
            at = due


@settings(max_examples=50, deadline=None)
@given(SCHEDULES, st.sampled_from(ZONES), st.integers(0, MINUTES - 1), st.integers(0, MINUTES - 1))
def test_the_latest_time_is_the_last_of_those_between(
    written: tuple[Written, ...], zone: str, one: int, other: int
) -> None:
    begin, end = min(one, other), max(one, other)
    wanted = due_by_hand(written, zone)
    between = wanted[(wanted > begin) & (wanted <= end)]
    found = times(" ".join(each.text for each in written), zone)
    latest = found.latest(START + timedelta(minutes=begin), START + timedelta(minutes=end))
    assert latest == (START + timedelta(minutes=int(between[-1])) if between.size else None)


@cache
def clock_changes(zone: str) -> tuple[int, int]:
    clock = ZoneInfo(zone)
    steps = [(START + timedelta(minutes=hour)).astimezone(clock).utcoffset() for hour in range(0, MINUTES, 30)]
    first, second = (number * 30 for number in range(1, len(steps)) if steps[number] != steps[number - 1])
    return first, second


def test_the_latest_of_every_so_often_keeps_the_beat_of_the_first() -> None:
    found = times("@every 7m")
    assert found.latest(START, START + timedelta(minutes=100)) == START + timedelta(minutes=98)
    assert found.latest(START, START + timedelta(minutes=6)) is None
    assert found.latest(START, START + timedelta(minutes=7)) == START + timedelta(minutes=7)


@pytest.mark.parametrize(
    "duration", ["9999999h", f"{'9' * 5000}s", f"1.{'9' * 5000}h", ".h", "5", "1d", ""], ids=lambda text: text[:8]
)
def test_durations_that_go_does_not_read_are_no_schedules(duration: str) -> None:
    fault = schedule.problem(f"@every {duration}")
    assert bool(fault) is not duration.startswith("1.")
    assert not fault or fault.startswith(f"failed to parse duration @every {duration}: time: ")
