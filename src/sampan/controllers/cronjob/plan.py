"""Decides for one CronJob: Jobs to delete, one to start, what to tell, and the status (upstream's second controller).

Pure. First finished Jobs beyond the history's limits go, then what became of the others is entered into the status,
then the newest time that has come due gets its Job, if the policy lets it. The shell is ``controller.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sampan.api import errors, objects
from sampan.api.reading import flag, moment, part, text, whole
from sampan.api.types import Obj
from sampan.client.events import EventKind
from sampan.controllers.cronjob import due, facts
from sampan.controllers.workload.times import Times

_RFC1123 = "%a, %d %b %Y %H:%M:%S +0000"


@dataclass(frozen=True, slots=True)
class Observed:
    """One snapshot. ``jobs``: those that the CronJob controls; ``missing``: uids of Jobs that its status names as
    running and that are gone."""

    cron_job: Obj
    jobs: Sequence[Obj]
    missing: frozenset[str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Tell:
    kind: EventKind
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """``must``: nothing after it may be done if it fails."""

    namespace: str
    name: str
    uid: str
    must: bool


@dataclass(frozen=True, slots=True)
class StartJob:
    job: Obj
    scheduled: datetime


Action = Tell | DeleteJob | StartJob


@dataclass(slots=True)
class Plan:
    """``status``: as it is before the actions, which add the Job that starts and remove those that are deleted.
    ``wait``: seconds until the next time."""

    status: Obj
    actions: list[Action] = field(default_factory=list)
    wait: float | None = None

    def tell(self, kind: EventKind, reason: str, message: str) -> None:
        self.actions.append(Tell(kind, reason, message))


def plan(observed: Observed) -> Plan:
    found = Plan(dict(part(observed.cron_job, "status")))
    surplus = _surplus(observed)
    for job in surplus:
        meta = job["metadata"]
        found.actions.append(DeleteJob(meta["namespace"], meta["name"], meta["uid"], must=False))
    found.status = facts.without(found.status, {job["metadata"]["uid"] for job in surplus})
    _look_after(observed, found)
    if not objects.is_deleting(observed.cron_job):
        _schedule(observed, found)
    return found


def _surplus(observed: Observed) -> list[Obj]:
    """Finished Jobs beyond the limits, the oldest of each sort first."""
    spec, gone = part(observed.cron_job, "spec"), []
    for limit, outcome in (("successfulJobsHistoryLimit", "Complete"), ("failedJobsHistoryLimit", "Failed")):
        most = whole(spec, limit)
        if most is None:
            continue
        ended = [job for job in observed.jobs if facts.finished(job) == outcome and not objects.is_deleting(job)]
        gone += facts.by_start(ended)[: max(0, len(ended) - most)]
    return gone


def _look_after(observed: Observed, found: Plan) -> None:
    """What became of the Jobs, and of those that the status names."""
    name, listed, gone = observed.cron_job["metadata"]["name"], facts.listed(found.status), set(observed.missing)
    for job in observed.jobs:
        meta, outcome = job["metadata"], facts.finished(job)
        if outcome and meta["uid"] in listed:
            gone.add(meta["uid"])
            found.tell("Normal", "SawCompletedJob", f"Saw completed job: {meta['name']}, condition: {outcome}")
        if outcome == "Complete":
            _note_success(job, found)
        if outcome or meta["uid"] in listed:
            continue
        scheduled = facts.started_for(name, job)
        if scheduled is None:
            message = f"Saw a job that the controller did not create or forgot: {meta['name']}"
            found.tell("Warning", "UnexpectedJob", message)
        elif not objects.is_deleting(job):
            # Made before a crash, when the status did not come to be written: it runs as much as the others.
            found.status = facts.with_started(found.status, job, scheduled)
    for reference in facts.active(found.status):
        if text(reference, "uid") in observed.missing:
            found.tell("Normal", "MissingJob", f"Active job went missing: {text(reference, 'name')}")
    found.status = facts.without(found.status, gone)


def _note_success(job: Obj, found: Plan) -> None:
    completed = moment(part(job, "status"), "completionTime")
    before = moment(found.status, "lastSuccessfulTime")
    if completed is not None and (before is None or completed > before):
        found.status = {**found.status, "lastSuccessfulTime": job["status"]["completionTime"]}


def _schedule(observed: Observed, found: Plan) -> None:
    cron_job, spec = observed.cron_job, part(observed.cron_job, "spec")
    if unknown := due.zone_fault(cron_job):
        found.tell("Warning", "UnknownTimeZone", f"invalid timeZone: {errors.quoted(spec['timeZone'])}: {unknown}")
        return
    if flag(spec, "suspend"):
        return
    if due.has_zone(cron_job):
        message = (
            f"CRON_TZ or TZ used in schedule {errors.quoted(spec['schedule'])} is not officially supported, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
        found.tell("Warning", "UnsupportedSchedule", message)
    try:
        when = due.times(cron_job)
        missed = due.missed(cron_job, when, observed.now, within_deadline=True)
    except due.Unusable as fault:
        found.tell("Warning", fault.reason, fault.message)
        return
    found.wait = _start(observed, missed, when, found)


def _start(observed: Observed, missed: due.Missed, when: Times, found: Plan) -> float | None:
    """Of what has come due the newest, if it may start; when the next time comes."""
    cron_job, scheduled = observed.cron_job, missed.latest
    if scheduled is not None and missed.number > due.MANY:
        message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        found.tell("Warning", "TooManyMissedTimes", message)
    if scheduled is not None and _may_start(observed, scheduled, found):
        if part(cron_job, "spec").get("concurrencyPolicy") == "Replace":
            # Only those that are its own: a status may name anything.
            listed = facts.listed(found.status)
            running = [job["metadata"] for job in observed.jobs if job["metadata"]["uid"] in listed]
            found.actions += [DeleteJob(meta["namespace"], meta["name"], meta["uid"], must=True) for meta in running]
        found.actions.append(StartJob(facts.job_for(cron_job, scheduled), scheduled))
    elif "startingDeadlineSeconds" in part(cron_job, "spec"):
        # The beat of ``@every`` began before the deadline.
        return due.next_in_seconds(cron_job, when, observed.now)
    return due.seconds_to(missed.following, observed.now)


def _may_start(observed: Observed, scheduled: datetime, found: Plan) -> bool:
    cron_job = observed.cron_job
    if due.is_too_late(cron_job, scheduled, observed.now):
        message = f"Missed scheduled time to start a job: {scheduled.strftime(_RFC1123)}"
        found.tell("Warning", "MissSchedule", message)
        return False
    running = facts.active(found.status)
    name = facts.job_name(cron_job["metadata"]["name"], scheduled)
    if any(each.get("name") == name for each in running) or scheduled == moment(found.status, "lastScheduleTime"):
        return False  # done already
    if running and part(cron_job, "spec").get("concurrencyPolicy") == "Forbid":
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        found.tell("Normal", "JobAlreadyActive", message)
        return False
    return True
