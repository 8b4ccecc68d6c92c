"""What CronJobs and their Jobs say, and the Job that one asks for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.reading import moment, part, parts, text, text_map
from sampan.api.resources import CRON_JOBS, JOBS
from sampan.api.types import Obj
from sampan.controllers.workload.claims import controller_reference
from sampan.controllers.workload.times import zone_of

#: of a Job: the time that it stands for, by the clock of the CronJob's zone
SCHEDULED: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def finished(job: Obj) -> str:
    """``Complete`` or ``Failed``; "" while neither."""
    for condition in parts(part(job, "status"), "conditions"):
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return text(condition, "type")
    return ""


def by_start(jobs: Iterable[Obj]) -> list[Obj]:
    """The oldest first, those that never started last."""

    def key(job: Obj) -> tuple[bool, datetime, str]:
        started = moment(part(job, "status"), "startTime")
        return started is None, started or datetime.min.replace(tzinfo=UTC), str(job["metadata"]["name"])

    return sorted(jobs, key=key)


# -- the status --------------------------------------------------------------------------------------------------


def active(status: Obj) -> Sequence[Obj]:
    """References to the Jobs that run."""
    return list(parts(status, "active"))


def listed(status: Obj) -> set[str]:
    """Their uids."""
    return {text(each, "uid") for each in active(status)}


def without(status: Obj, uids: Collection[str]) -> Obj:
    """The status without these among those that run."""
    return _with_active(status, [each for each in active(status) if text(each, "uid") not in uids])


def with_started(status: Obj, job: Obj, scheduled: datetime) -> Obj:
    meta = job["metadata"]
    reference = {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        **{key: meta[key] for key in ("name", "namespace", "resourceVersion", "uid")},
    }
    last = max(scheduled, moment(status, "lastScheduleTime") or scheduled)
    return _with_active(status, [*active(status), reference]) | {"lastScheduleTime": format_time(last)}


def _with_active(status: Obj, references: Sequence[Obj]) -> Obj:
    rest = {key: value for key, value in status.items() if key != "active"}
    return {"active": list(references), **rest} if references else rest


# -- the Job -----------------------------------------------------------------------------------------------------


def job_name(cron_job: str, scheduled: datetime) -> str:
    """By the minute: that one minute makes one Job is what it rests on."""
    return f"{cron_job}-{int(scheduled.timestamp()) // 60}"


def started_for(cron_job: str, job: Obj) -> datetime | None:
    """The time that the controller made it for; None: somebody else made it."""
    scheduled = moment(text_map(job["metadata"], "annotations"), SCHEDULED)
    return scheduled if scheduled is not None and job["metadata"]["name"] == job_name(cron_job, scheduled) else None


def job_for(cron_job: Obj, scheduled: datetime) -> Obj:
    """The Job of a time; shares nothing with the CronJob. Its ``timeZone`` must be one that there is."""
    spec = part(cron_job, "spec")
    template = part(spec, "jobTemplate")
    source = part(template, "metadata")
    meta: Obj = {
        "name": job_name(cron_job["metadata"]["name"], scheduled),
        "namespace": cron_job["metadata"]["namespace"],
        "annotations": {**text_map(source, "annotations"), SCHEDULED: _local(scheduled, text(spec, "timeZone"))},
        "ownerReferences": [controller_reference(cron_job, CRON_JOBS)],
    }
    if labels := text_map(source, "labels"):
        meta["labels"] = dict(labels)
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": meta,
        "spec": objects.deep_copy(part(template, "spec")),
    }


def _local(scheduled: datetime, zone: str) -> str:
    shown = scheduled.astimezone(zone_of(zone))
    return shown.isoformat(timespec="seconds").replace("+00:00", "Z")
