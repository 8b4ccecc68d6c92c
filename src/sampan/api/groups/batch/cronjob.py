"""CronJob (batch/v1): defaults, validation, columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sampan.api import errors, gates, humanize
from sampan.api.groups import printing, templated
from sampan.api.groups.batch import schedule
from sampan.api.groups.batch.job import default_failure_patterns
from sampan.api.groups.batch.job_rules import job_spec, job_warnings
from sampan.api.groups.core import pod_warnings, template_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

#: A Job's name adds eleven characters for the time.
_LONGEST_NAME: Final = 52
#: a part of a time zone's name, digits and ``+`` for old ones
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)


_ZONE_IN_SCHEDULE: Final = (
    "CRON_TZ or TZ used in spec.spec.schedule is not officially supported, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)


def _default(cron_job: Obj) -> None:
    spec = cron_job.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job_template = spec.setdefault("jobTemplate", {})
    job_template.setdefault("metadata", {})
    job = job_template.setdefault("spec", {})
    default_failure_patterns(job)
    default_pod_template(job.setdefault("template", {}))


def _job(cron_job: Obj) -> Obj:
    found: Obj = ((cron_job.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}
    return found


# -- rules -------------------------------------------------------------------------------------------------------


def _schedule(spec: Obj, before: Obj) -> Errors:
    """A time zone in the schedule is tolerated where the object had one before the field for it came."""
    text, path = spec.get("schedule", ""), "spec.schedule"
    if not text:
        return [errors.required(path)]
    found: Errors = []
    if reason := schedule.problem(text):
        found.append(errors.invalid(path, text, reason))
    if "TZ" not in text:
        return found
    if "TZ" not in before.get("schedule", ""):
        reason = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        found.append(errors.invalid(path, text, reason))
    elif spec.get("timeZone") is not None:
        reason = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        found.append(errors.invalid(path, text, reason))
    return found


def _time_zone(zone: str | None) -> Errors:
    path = "spec.timeZone"
    if zone is None:
        return []
    if not zone:
        return [errors.invalid(path, zone, "timeZone must be nil or non-empty string")]
    unknown = [errors.invalid(path, zone, f"unknown time zone {zone}")]
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _ZONE_PART.fullmatch(part):
            return unknown
    found: Errors = []
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        found.append(errors.invalid(path, zone, text))
        if zone == "Local":  # Go knows this one
            return found
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return found + unknown
    return found


def _rules(cron_job: Obj, old: Obj | None) -> Errors:
    spec, before = cron_job.get("spec") or {}, (old or {}).get("spec") or {}
    found = _schedule(spec, before)
    found += common.non_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    if old is None or spec.get("timeZone") != before.get("timeZone"):
        found += _time_zone(spec.get("timeZone"))
    policies = ("Allow", "Forbid", "Replace")
    found += common.one_of(spec.get("concurrencyPolicy"), policies, "spec.concurrencyPolicy", must=True)
    found += _job_template(_job(cron_job), "spec.jobTemplate.spec", _job(old or {}).get("template"))
    for key in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        found += common.non_negative(spec.get(key), f"spec.{key}")
    return found


def _job_template(job: Obj, path: str, before: Obj | None) -> Errors:
    found = job_spec(job, path, before)
    if job.get("selector") is not None:
        found.append(
            errors.invalid(
                f"{path}.selector", templated.shown_selector(job["selector"]), "`selector` will be auto-generated"
            )
        )
    if job.get("manualSelector"):
        found.append(errors.not_supported(f"{path}.manualSelector", True, ("nil", "false")))
    return found


def _validate(cron_job: Obj) -> Errors:
    found = _rules(cron_job, None)
    name = cron_job.get("metadata", {}).get("name", "")
    if len(name.encode()) > _LONGEST_NAME:
        found.append(errors.invalid("metadata.name", name, f"must be no more than {_LONGEST_NAME} bytes"))
    return found


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    found = template_warnings.named_for_pods(new, old)
    if pod_warnings.is_new_generation(new, old):
        found += job_warnings(_job(new), "spec.jobTemplate.spec")
    if "TZ" in (new.get("spec") or {}).get("schedule", ""):
        found.append(_ZONE_IN_SCHEDULE)
    return found


# -- columns -----------------------------------------------------------------------------------------------------


def _suspended(suspend: bool | None) -> str:
    if suspend is None:
        return printing.UNSET
    return "True" if suspend else "False"


def _row(cron_job: Obj, now: datetime) -> Sequence[Any]:
    spec, status = cron_job.get("spec") or {}, cron_job.get("status") or {}
    last, job = status.get("lastScheduleTime"), _job(cron_job)
    return (
        printing.name(cron_job),
        spec.get("schedule", ""),
        spec.get("timeZone", printing.NONE),
        _suspended(spec.get("suspend")),
        len(status.get("active") or ()),
        humanize.since(last, now) if last else printing.NONE,
        printing.age(cron_job, now),
        *printing.containers((job.get("template") or {}).get("spec") or {}),
        printing.label_selector(job.get("selector")),
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
        gated=gates.CRON_JOB,
        short_names=("cj",),
        categories=("all",),
        status=True,
        prepare_create=drop_status,
        generation=True,
        default=_default,
        validate=_validate,
        warnings=_warnings,
        validate_update=_rules,
        ratchets=True,
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
