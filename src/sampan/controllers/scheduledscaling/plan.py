"""Which rule of a ScheduledScaler holds now, and when the next one will. Pure."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from sampan.api.groups.batch import schedule
from sampan.api.groups.batch.schedule import ScheduleFault
from sampan.api.reading import flag, moment, part, parts, text, whole
from sampan.api.types import Obj
from sampan.controllers.workload.times import Times, times_of, zone_of
from sampan.records import dataclass

#: of the definition, too; more than these are not looked at
MOST_RULES: Final = 64
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


class Due(NamedTuple):
    """A rule, and a time at which it comes."""

    at: datetime
    rule: str
    replicas: int


class Fault(NamedTuple):
    """``reason`` of the condition Ready."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """``now``: what came last and was not carried out yet. ``following``: what comes next. ``fault``: a rule or a zone
    that nothing can be reckoned by; the other rules go on."""

    now: Due | None = None
    following: Due | None = None
    fault: Fault | None = None


def plan(scaler: Obj, now: datetime) -> Plan:
    """Times before the scaler was made, or up to the last that was carried out, do not count. Of rules that come at
    the same time the last one holds."""
    work = planning(scaler, now)
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Plan = end.value
            return found


def planning(scaler: Obj, now: datetime) -> Generator[None, None, Plan]:
    """``plan``, a rule at a time: one that comes seldom takes some milliseconds to reckon."""
    spec = part(scaler, "spec")
    zone = text(spec, "timeZone")
    try:
        zone_of(zone)
    except (KeyError, ValueError, OSError):
        return Plan(fault=Fault("InvalidTimeZone", f"unknown time zone {zone}"))
    since = moment(part(scaler, "status"), "lastScheduleTime") or moment(scaler["metadata"], "creationTimestamp")
    due: Due | None = None
    following: Due | None = None
    fault: Fault | None = None
    for name, written, replicas in _rules(spec):
        try:
            when = _times(written, zone)
        except ScheduleFault as error:
            fault = fault or Fault("InvalidSchedule", f"rule {name}: {error}")
            continue
        last = when.latest(since or _BEGINNING, now)
        if last is not None and (due is None or last >= due.at):
            due = Due(last, name, replicas)
        first = when.after(now)
        if first is not None and (following is None or first <= following.at):
            following = Due(first, name, replicas)
        yield
    if flag(spec, "suspend"):
        return Plan(fault=fault)
    return Plan(due, following, fault)


def _rules(spec: Obj) -> Iterator[tuple[str, str, int]]:
    for number, rule in enumerate(parts(spec, "rules")):
        replicas = whole(rule, "replicas")
        if number < MOST_RULES and replicas is not None and replicas >= 0:
            yield text(rule, "name"), text(rule, "schedule"), replicas


@lru_cache(maxsize=1024)
def _times(written: str, zone: str) -> Times:
    """Raises ScheduleFault."""
    return times_of(schedule.parse(written), zone)
