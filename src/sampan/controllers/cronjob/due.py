"""Which time of a CronJob is due, and when the next one comes (upstream ``mostRecentScheduleTime``). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from sampan.api import errors
from sampan.api.groups.batch import schedule
from sampan.api.groups.batch.schedule import ScheduleFault
from sampan.api.reading import moment, part, text, whole
from sampan.api.types import Obj
from sampan.controllers.workload.times import Times, times_of, zone_of

#: More missed times than these are told of.
MANY: Final = 100
#: A timer is set so much later than the time itself, so that the clock has reached it when it fires.
_MARGIN: Final = timedelta(milliseconds=100)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


class Unusable(Exception):
    """A schedule or a zone that nothing can be reckoned by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Missed:
    """``latest``: the newest time that has come and was not seen to. ``following``: the first that has not come yet.
    ``number``: about how many have come, when it is more than one."""

    latest: datetime | None
    following: datetime | None
    number: int = 0


def has_zone(cron_job: Obj) -> bool:
    """In the text of its schedule, where it is not meant to be."""
    return "TZ" in text(part(cron_job, "spec"), "schedule")


def zone_fault(cron_job: Obj) -> str:
    """What is wrong with ``timeZone``; "": nothing."""
    zone = text(part(cron_job, "spec"), "timeZone")
    try:
        zone_of(zone)
    except (KeyError, ValueError, OSError):
        return f"unknown time zone {zone}"
    return ""


def times(cron_job: Obj) -> Times:
    """Raises Unusable, for Events with the reason ``UnparseableSchedule``."""
    spec = part(cron_job, "spec")
    written, zone = text(spec, "schedule"), text(spec, "timeZone")
    try:
        return _times(written, "" if zone_fault(cron_job) else zone)
    except ScheduleFault as fault:
        message = f"unparseable schedule: {errors.quoted(written)} : {fault}"
        raise Unusable("UnparseableSchedule", message) from None


def missed(cron_job: Obj, when: Times, now: datetime, *, within_deadline: bool) -> Missed:
    """What has come due. ``within_deadline``: of that, what may still be started. Raises Unusable for a schedule that
    never comes."""
    since = moment(part(cron_job, "status"), "lastScheduleTime") or _made(cron_job)
    deadline = whole(part(cron_job, "spec"), "startingDeadlineSeconds") if within_deadline else None
    if deadline is not None and (now - since).total_seconds() > deadline:
        since = now - timedelta(seconds=deadline)
    first = when.after(since)
    if first is not None and now < first:
        return Missed(None, first)
    second = when.after(first) if first is not None else None
    if first is None or second is None:
        written = text(part(cron_job, "spec"), "schedule")
        fault = "time difference between two schedules is less than 1 second"
        raise Unusable("InvalidSchedule", f"invalid schedule: {written} : {fault}")
    if now < second:
        return Missed(first, second)
    # As upstream counts: by the distance of the first two. What is older than that many of them is given up.
    pause = round((second - first).total_seconds())
    number = int((now - first).total_seconds()) // pause + 1
    latest = when.latest(first + timedelta(seconds=(number - 2) * pause), now)
    return Missed(latest, when.after(latest or now), number)


def is_too_late(cron_job: Obj, scheduled: datetime, now: datetime) -> bool:
    deadline = whole(part(cron_job, "spec"), "startingDeadlineSeconds")
    return deadline is not None and (now - scheduled).total_seconds() > deadline


def next_in_seconds(cron_job: Obj, when: Times, now: datetime) -> float | None:
    """Until the next time; None: there is none."""
    try:
        return seconds_to(missed(cron_job, when, now, within_deadline=False).following, now)
    except Unusable:
        return seconds_to(when.after(now), now)


def seconds_to(following: datetime | None, now: datetime) -> float | None:
    return (following + _MARGIN - now).total_seconds() if following is not None else None


@lru_cache(maxsize=1024)
def _times(written: str, zone: str) -> Times:
    return times_of(schedule.parse(written), zone)


def _made(cron_job: Obj) -> datetime:
    return moment(cron_job["metadata"], "creationTimestamp") or _BEGINNING
