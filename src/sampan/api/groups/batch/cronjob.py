"""CronJob (batch/v1): defaults, validation, columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sampan.api import errors, humanize
from sampan.api.groups import printing
from sampan.api.groups.batch import schedule
from sampan.api.groups.batch.job import validate_job_spec
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

#: A Job's name adds eleven characters for the time.
_MAX_NAME = 52


def _default(cron_job: Obj) -> None:
    spec = cron_job.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job_template = spec.setdefault("jobTemplate", {})
    job_template.setdefault("metadata", {})
    default_pod_template(job_template.setdefault("spec", {}).setdefault("template", {}))


def _schedule(spec: Obj) -> Errors:
    text = spec.get("schedule", "")
    if not text:
        return [errors.required("spec.schedule")]
    if "TZ" in text:
        reason = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [errors.invalid("spec.schedule", text, reason)]
    if reason := schedule.problem(text):
        return [errors.invalid("spec.schedule", text, reason)]
    return []


def _time_zone(zone: str | None) -> Errors:
    if zone is None:
        return []
    if not zone:
        return [errors.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        return [errors.invalid("spec.timeZone", zone, "timeZone must be an explicit time zone as defined in "
                               "https://www.iana.org/time-zones")]  # fmt: skip
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        return [errors.invalid("spec.timeZone", zone, f"unknown time zone {zone}")]
    return []


def _validate(cron_job: Obj) -> Errors:
    spec = cron_job.get("spec") or {}
    found = _schedule(spec) + _time_zone(spec.get("timeZone"))
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        found += common.non_negative(spec.get(key), f"spec.{key}")
    policies = ("Allow", "Forbid", "Replace")
    found += common.one_of(spec.get("concurrencyPolicy"), policies, "spec.concurrencyPolicy", must=True)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    found += validate_job_spec(job, "spec.jobTemplate.spec")
    if job.get("manualSelector"):
        found.append(errors.not_supported("spec.jobTemplate.spec.manualSelector", "true", ("nil", "false")))
    name = cron_job.get("metadata", {}).get("name", "")
    if len(name) > _MAX_NAME:
        found.append(errors.invalid("metadata.name", name, f"must be no more than {_MAX_NAME} characters"))
    return found


def _row(cron_job: Obj, now: datetime) -> Sequence[Any]:
    spec, status = cron_job.get("spec") or {}, cron_job.get("status") or {}
    last = status.get("lastScheduleTime")
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    return (
        printing.name(cron_job),
        spec.get("schedule", ""),
        spec.get("timeZone") or printing.NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        humanize.since(last, now) if last else printing.NONE,
        printing.age(cron_job, now),
        *printing.containers((job.get("template") or {}).get("spec") or {}),
        printing.selector(job.get("selector")),
    )


KINDS = (
    Kind(
        group="batch",
        version="v1",
        kind="CronJob",
        plural="cronjobs",
        singular="cronjob",
        namespaced=True,
        schema="io.k8s.api.batch.v1.CronJob",
        short_names=("cj",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        default=_default,
        validate=_validate,
        columns=(
            printing.NAME,
            Column("Schedule"),
            Column("Timezone"),
            Column("Suspend", type="boolean"),
            printing.number("Active"),
            Column("Last Schedule"),
            printing.AGE,
            printing.CONTAINERS,
            printing.IMAGES,
            printing.SELECTOR,
        ),
        row=_row,
    ),
)
