"""CronJob (batch/v1)."""

from __future__ import annotations

from kind_harness import GONE, Invalid, KindCases, Row, Update, Warned, invalid, not_supported, required
from kind_templates import DOTTED_NAME, OLD_LABEL, stored, template

_JOB = "spec.jobTemplate.spec"
_ZONES = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"


def _schedule(text: str, problem: str) -> Invalid:
    return Invalid(f"a schedule of {text!r}", {"spec.schedule": text}, [invalid("spec.schedule", f'"{text}"', problem)])


CASES = KindCases(
    api_version="batch/v1",
    kind="CronJob",
    plural="cronjobs",
    generation=True,
    minimal={
        "metadata": {"name": "a"},
        "spec": {"schedule": "@hourly", "jobTemplate": {"spec": {"template": template(restartPolicy="Never")}}},
    },
    minimal_stored={
        "spec": {
            "concurrencyPolicy": "Allow",
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {}, "spec": {"template": stored(restartPolicy="Never")}},
            "schedule": "@hourly",
            "successfulJobsHistoryLimit": 3,
            "suspend": False,
        },
        "status": {},
    },
    full={
        "metadata": {"name": "a"},
        "spec": {
            "concurrencyPolicy": "Forbid",
            "failedJobsHistoryLimit": 0,
            "jobTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {
                    "completions": 2,
                    "podFailurePolicy": {
                        "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
                    },
                    "template": template({"app": "web"}, restartPolicy="Never"),
                },
            },
            "schedule": "*/5 0-3 1,15 jan mon-fri",
            "startingDeadlineSeconds": 9,
            "successfulJobsHistoryLimit": 0,
            "suspend": True,
            "timeZone": "Etc/UTC",
        },
    },
    full_stored={
        "spec": {
            "concurrencyPolicy": "Forbid",
            "failedJobsHistoryLimit": 0,
            "jobTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {
                    "completions": 2,
                    "podFailurePolicy": {
                        "rules": [
                            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
                        ]
                    },
                    "template": stored({"app": "web"}, restartPolicy="Never"),
                },
            },
            "schedule": "*/5 0-3 1,15 jan mon-fri",
            "startingDeadlineSeconds": 9,
            "successfulJobsHistoryLimit": 0,
            "suspend": True,
            "timeZone": "Etc/UTC",
        },
        "status": {},
    },
    invalid=[
        Invalid("no schedule", {"spec.schedule": GONE}, [required("spec.schedule")]),
        _schedule("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        _schedule("60 * * * *", "end of range (60) above maximum (59): 60"),
        _schedule("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        _schedule("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        _schedule("*/0 * * * *", "step of range should be a positive number: */0"),
        _schedule("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        _schedule("1/2/3 * * * *", "too many slashes: 1/2/3"),
        _schedule("@never", "unrecognized descriptor: @never"),
        Invalid(
            "a schedule of words",
            {"spec.schedule": "* * * * day"},
            [
                invalid(
                    "spec.schedule",
                    '"* * * * day"',
                    'failed to parse int from day: strconv.Atoi: parsing "day": invalid syntax',
                )
            ],
        ),
        Invalid(
            "every so often",
            {"spec.schedule": "@every 5"},
            [
                invalid(
                    "spec.schedule",
                    '"@every 5"',
                    'failed to parse duration @every 5: time: missing unit in duration "5"',
                )
            ],
        ),
        Invalid(
            "a time zone in the schedule",
            {"spec.schedule": "TZ=UTC * * * * *"},
            [
                invalid(
                    "spec.schedule",
                    '"TZ=UTC * * * * *"',
                    "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                )
            ],
            together=True,
        ),
        Invalid(
            "an empty time zone",
            {"spec.timeZone": ""},
            [invalid("spec.timeZone", '""', "timeZone must be nil or non-empty string")],
        ),
        Invalid(
            "a time zone that is a file",
            {"spec.timeZone": "../UTC"},
            [invalid("spec.timeZone", '"../UTC"', "unknown time zone ../UTC")],
        ),
        Invalid("the machine's own time", {"spec.timeZone": "Local"}, [invalid("spec.timeZone", '"Local"', _ZONES)]),
        Invalid(
            "the machine's own time in small letters",
            {"spec.timeZone": "local"},
            [
                invalid("spec.timeZone", '"local"', _ZONES),
                invalid("spec.timeZone", '"local"', "unknown time zone local"),
            ],
        ),
        Invalid(
            "an unknown policy",
            {"spec.concurrencyPolicy": "Queue"},
            [not_supported("spec.concurrencyPolicy", '"Queue"', "Allow", "Forbid", "Replace")],
        ),
        Invalid(
            "numbers below zero",
            {"spec.startingDeadlineSeconds": -1, "spec.failedJobsHistoryLimit": -1, f"{_JOB}.completions": -1},
            [
                invalid(f"spec.{key}", "-1", "must be greater than or equal to 0")
                for key in ("startingDeadlineSeconds", "jobTemplate.spec.completions", "failedJobsHistoryLimit")
            ],
        ),
        Invalid(
            "a selector, which every job gets for itself",
            {f"{_JOB}.selector": {"matchLabels": {"app": "web"}}, f"{_JOB}.manualSelector": True},
            [
                invalid(f"{_JOB}.selector", '{"matchLabels":{"app":"web"}}', "`selector` will be auto-generated"),
                not_supported(f"{_JOB}.manualSelector", "true", "nil", "false"),
            ],
            together=True,
        ),
        Invalid(
            "pods that are restarted and judged",
            {f"{_JOB}.template.spec.restartPolicy": "OnFailure"},
            [
                invalid(
                    f"{_JOB}.template.spec.restartPolicy",
                    '"OnFailure"',
                    'only "Never" is supported when podFailurePolicy is specified',
                )
            ],
            together=True,
        ),
        Invalid(
            "a name too long for its jobs",
            {"metadata.name": "a" * 53},
            [invalid("metadata.name", f'"{"a" * 53}"', "must be no more than 52 bytes")],
        ),
    ],
    updates=[
        Update("another schedule", {"spec.schedule": "@daily"}, allowed=True),
        Update("another template", {f"{_JOB}.template.spec.containers.0.image": "nginx:2"}, allowed=True),
        Update(
            "an unknown time zone",
            {"spec.timeZone": "Mars/Base"},
            [invalid("spec.timeZone", '"Mars/Base"', "unknown time zone Mars/Base")],
        ),
    ],
    rows=[
        Row("new", {}, ["a", "@hourly", "<none>", "False", 0, "<none>", "60m", "c", "nginx:1", "<none>"]),
        Row(
            "suspended, in a time zone",
            {},
            ["a", "*/5 0-3 1,15 jan mon-fri", "Etc/UTC", "True", 0, "<none>", "60m", "c", "nginx:1", "<none>"],
            on="full",
        ),
        Row(
            "running",
            {"status.lastScheduleTime": "2026-11-21T11:59:00Z", "status.active": [{"name": "b"}, {"name": "c"}]},
            ["a", "@hourly", "<none>", "False", 2, "60s", "60m", "c", "nginx:1", "<none>"],
        ),
        Row(
            "not said whether it is suspended",
            {"spec.suspend": GONE},
            ["a", "@hourly", "<none>", "<unset>", 0, "<none>", "60m", "c", "nginx:1", "<none>"],
        ),
    ],
    warned=[
        Warned(
            "a name with a dot, and a label of old",
            {
                "metadata.name": "a.b",
                "spec.jobTemplate.spec.template.spec.nodeSelector": {"beta.kubernetes.io/os": "linux"},
            },
            [
                DOTTED_NAME,
                f"spec.jobTemplate.spec.template.spec.nodeSelector[beta.kubernetes.io/os]: {OLD_LABEL}",
            ],
        ),
    ],
)
