"""Job (batch/v1): defaults, the generated selector, validation, columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize
from sampan.api.clock import parse_time
from sampan.api.groups import printing
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, pod
from sampan.api.validation.common import Errors

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
#: The labels' names before v1.27, which are still set.
LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME = "controller-uid", "job-name"


def default_job_spec(spec: Obj) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if not spec.get("podFailurePolicy") else "Failed")
    spec.setdefault("manualSelector", False)
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def _default(job: Obj) -> None:
    spec = job.setdefault("spec", {})
    default_job_spec(spec)
    default_pod_template(spec.setdefault("template", {}))
    template_labels = spec["template"]["metadata"].get("labels")
    metadata = job.setdefault("metadata", {})
    if template_labels and not metadata.get("labels"):
        metadata["labels"] = dict(template_labels)


def _prepare_create(job: Obj) -> None:
    """Selects the job's own pods by its uid, which is set by now, unless the author wants to do it by hand."""
    job["status"] = {}
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    template = spec["template"].setdefault("metadata", {})
    template_labels = template.setdefault("labels", {})
    for key, value in ((CONTROLLER_UID, uid), (LEGACY_CONTROLLER_UID, uid), (JOB_NAME, name), (LEGACY_JOB_NAME, name)):
        template_labels[key] = value
    if not metadata.get("labels"):  # as defaulting does when the object is read back
        metadata["labels"] = dict(template_labels)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {})[CONTROLLER_UID] = uid


def validate_job_spec(spec: Obj, path: str) -> Errors:
    found: Errors = []
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex",
                "maxFailedIndexes", "ttlSecondsAfterFinished"):  # fmt: skip
        found += common.non_negative(spec.get(key), f"{path}.{key}")
    modes = ("Indexed", "NonIndexed")
    found += common.one_of(spec.get("completionMode"), modes, f"{path}.completionMode")
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        text = "when completion mode is Indexed"
        found.append(errors.required(f"{path}.completions", text))
    if spec.get("backoffLimitPerIndex") is not None and spec.get("completionMode") != "Indexed":
        text = "requires indexed completion mode"
        found.append(errors.invalid(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], text))
    policies = ("Failed", "TerminatingOrFailed")
    found += common.one_of(spec.get("podReplacementPolicy"), policies, f"{path}.podReplacementPolicy")
    template = spec.get("template") or {}
    found += pod.pod_template(template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy == "Always" or not policy:
        where = f"{path}.template.spec.restartPolicy"
        found.append(errors.required(where, 'valid values: "OnFailure", "Never"'))
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        text = f'only "Never" is supported when podFailurePolicy is specified, not "{policy}"'
        found.append(errors.invalid(f"{path}.template.spec.restartPolicy", policy, text))
    return found


def _validate(job: Obj) -> Errors:
    spec = job.get("spec") or {}
    found = validate_job_spec(spec, "spec")
    if spec.get("selector") is None:
        return [*found, errors.required("spec.selector")]
    found += common.label_selector(spec["selector"], "spec.selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    wanted = (spec["selector"] or {}).get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        text = "`selector` does not match template `labels`"
        found.append(errors.invalid("spec.template.metadata.labels", labels, text))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    spec, before = new.get("spec", {}), old.get("spec", {})
    found: Errors = []
    resized = (
        before.get("completionMode") == "Indexed"
        and spec.get("completions") is not None
        and spec.get("completions") == spec.get("parallelism")
    )
    if not resized:
        found += common.immutable(spec.get("completions"), before.get("completions"), "spec.completions")
    for key in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        found += common.immutable(spec.get(key), before.get(key), f"spec.{key}")
    not_started = before.get("suspend") and not (old.get("status") or {}).get("startTime")
    if not not_started:
        found += common.immutable(spec.get("template"), before.get("template"), "spec.template")
    return found


def _selectable(job: Obj) -> Mapping[str, str]:
    return {"status.successful": str((job.get("status") or {}).get("succeeded", 0))}


def status_word(job: Obj) -> str:
    if printing.has_condition(job, "Complete"):
        return "Complete"
    if printing.has_condition(job, "Failed"):
        return "Failed"
    if job.get("metadata", {}).get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if printing.has_condition(job, condition):
            return condition
    return "Running"


def _completions(spec: Obj, succeeded: int) -> str:
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(status: Obj, now: datetime) -> str:
    if not status.get("startTime"):
        return ""
    end = parse_time(status["completionTime"]) if status.get("completionTime") else now
    return humanize.human_duration(end - parse_time(status["startTime"]))


def _row(job: Obj, now: datetime) -> Sequence[Any]:
    spec, status = job.get("spec") or {}, job.get("status") or {}
    return (
        printing.name(job),
        status_word(job),
        _completions(spec, status.get("succeeded", 0)),
        _duration(status, now),
        printing.age(job, now),
        *printing.containers(printing.template_spec(job)),
        printing.selector(spec.get("selector")),
    )


KINDS = (
    Kind(
        group="batch",
        version="v1",
        kind="Job",
        plural="jobs",
        singular="job",
        namespaced=True,
        schema="io.k8s.api.batch.v1.Job",
        categories=("all",),
        status=True,
        generation=True,
        default_propagation="orphan",
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        prepare_create=_prepare_create,
        columns=(
            printing.NAME,
            Column("Status"),
            Column("Completions"),
            Column("Duration"),
            printing.AGE,
            printing.CONTAINERS,
            printing.IMAGES,
            printing.SELECTOR,
        ),
        row=_row,
        selectable_fields=_selectable,
        selectable_names=("status.successful",),
    ),
)
