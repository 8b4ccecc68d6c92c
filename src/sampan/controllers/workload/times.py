"""When a schedule falls due, as robfig/cron v3 reckons it. Pure.

What the clocks of the zone show decides: a time that they skip in spring does not come that day, one that they show
twice in autumn comes twice. ``cronsim`` steps from one time of day to the next; zones, their changes of the clock and
what a schedule means (``api.groups.batch.schedule``) are ours. Everything here is bounded: no question walks through
all the times between two moments.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from sampan.api.groups.batch.schedule import Field, Schedule

#: A schedule that is not due within so many years never is.
_YEARS: Final = 5
#: in how many steps the last time before now is looked for before the way is halved
_STEPS: Final = 5
#: the fields that cronsim must see as stars: the days of the month and of the week
_DAYS: Final = (2, 4)


class Times(Protocol):
    def after(self, moment: datetime) -> datetime | None:
        """The first time later than a moment; None: never, or not for years. All are in UTC."""
        ...

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last time of those later than ``after`` and not later than ``until``."""
        ...


def times_of(schedule: Schedule, zone: str) -> Times:
    """``zone``: whose clock is meant when the schedule names none."""
    if schedule.every_seconds:
        return Every(timedelta(seconds=schedule.every_seconds))
    return OfDay(schedule.fields, zone_of(zone if schedule.zone is None else schedule.zone))


def zone_of(name: str) -> tzinfo:
    """Raises KeyError (its subclass ZoneInfoNotFoundError), ValueError, OSError for what is none. The cluster's own
    clock is UTC's."""
    return UTC if name in ("", "UTC", "Local") else ZoneInfo(name)


class Every:
    """Of ``@every``: so long after what came before, wherever that was."""

    def __init__(self, pause: timedelta) -> None:
        self._pause = pause

    def after(self, moment: datetime) -> datetime | None:
        try:
            return moment.replace(microsecond=0) + self._pause
        except OverflowError:
            return None

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        start = after.replace(microsecond=0)
        steps = (until - start) // self._pause
        return start + steps * self._pause if steps > 0 else None


class OfDay:
    """Of five fields, by the clock of a zone."""

    def __init__(self, fields: tuple[Field, ...], zone: tzinfo) -> None:
        self._zone = zone
        self._pattern = _pattern(tuple(fields))

    def after(self, moment: datetime) -> datetime | None:
        try:
            return self._after(moment)
        except (OverflowError, ValueError):  # beyond the last year that there is
            return None

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """A few steps mostly; else by halving, which asks some thirty times at most."""
        last, found = None, self.after(after)
        for _ in range(_STEPS):
            if found is None or found > until:
                return last
            last, found = found, self.after(found)
        assert last is not None
        beyond = until  # no time is later than that, and none of (beyond, until] comes
        while found is not None and found <= until:
            last, middle = found, found + (beyond - found) / 2
            later = self.after(middle)
            if later is not None and later <= until:
                found = later
            else:
                beyond, found = middle, self.after(last)
        return last

    def _after(self, moment: datetime) -> datetime | None:
        if self._pattern is None:
            return None
        local = moment.astimezone(self._zone)
        shown = local.replace(tzinfo=None)
        found = self._first(shown, moment)
        if found is not None and found.year > local.year + _YEARS:
            found = None
        if (back := _shown_again(local)) is not None:
            # The clock will be put back: what it shows then has to be looked at once more from there.
            again = self._repeated(shown - back, shown)
            if again is not None and (found is None or again < found):
                return again
        return found

    def _first(self, shown: datetime, after: datetime) -> datetime | None:
        """The next time of the clock that there is, not regarding that it may be put back."""
        for wall in self._from(shown):
            for fold in (0, 1):
                moment = wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC)
                if moment > after and moment.astimezone(self._zone).replace(tzinfo=None, fold=0) == wall:
                    return moment
        return None

    def _repeated(self, start: datetime, end: datetime) -> datetime | None:
        """The first time in (start, end] that the clock shows twice; its second coming."""
        for wall in self._from(start):
            if wall > end:
                return None
            there = wall.replace(tzinfo=self._zone, fold=1)
            if _shown_again(wall.replace(tzinfo=self._zone)) is not None:
                return there.astimezone(UTC)
        return None

    def _from(self, shown: datetime) -> CronSim:
        """The times of the clock, from the first later than ``shown``."""
        assert self._pattern is not None
        times = copy.copy(self._pattern)
        times.dt = shown.replace(second=59, microsecond=0, fold=0)  # its first step is a second
        return times


def _shown_again(local: datetime) -> timedelta | None:
    """If the clock will be put back and show this time once more: by how much."""
    if local.fold:
        return None
    before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert before is not None and after is not None
    return before - after if before > after else None


def _pattern(fields: tuple[Field, ...]) -> CronSim | None:
    """None for one that never comes: the 31st of February."""
    if not all(field.values for field in fields):
        return None
    written = (
        "*" if number in _DAYS and field.every else ",".join(map(str, sorted(field.values)))
        for number, field in enumerate(fields)
    )
    try:
        return CronSim(" ".join(written), datetime.min)
    except CronSimError:
        return None
