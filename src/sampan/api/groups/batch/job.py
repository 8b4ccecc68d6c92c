"""Job (batch/v1): defaults, the selector and labels that it is given, columns.

Its rules stand beside it: of the spec in ``job_rules`` and ``job_policies``, of changes in ``job_update``, of status in
``job_status``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors, gates, humanize, labels, names
from sampan.api.clock import parse_time
from sampan.api.groups import printing, templated
from sampan.api.groups.batch import job_rules, job_status, job_update
from sampan.api.groups.core import pod_warnings, template_warnings
from sampan.api.groups.core.pod_defaults import default_pod_template
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
#: The labels' names before v1.27, which are still set.
LEGACY_CONTROLLER_UID: Final = "controller-uid"
LEGACY_JOB_NAME: Final = "job-name"


def default_failure_patterns(spec: Obj) -> None:
    """Of a Job's spec, also in a CronJob."""
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def _default_spec(spec: Obj) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed")
    spec.setdefault("manualSelector", False)
    default_failure_patterns(spec)


def _default(job: Obj) -> None:
    spec = job.setdefault("spec", {})
    _default_spec(spec)
    default_pod_template(spec.setdefault("template", {}))
    template_labels = spec["template"]["metadata"].get("labels")
    metadata = job.setdefault("metadata", {})
    if template_labels and not metadata.get("labels"):
        metadata["labels"] = template_labels  # one map, as in the reference: what the one is given, both show


def _prepare_create(job: Obj) -> None:
    """Selects the job's own pods by its uid, which is set by now, unless the author wants to do it by hand. Labels that
    are there already stay: the rules refuse them."""
    job["status"] = {}
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    template_labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key, value in _generated(uid, name).items():
        template_labels.setdefault(key, value)
    if not metadata.get("labels") or metadata["labels"] is template_labels:  # else defaulting would, when it is read
        metadata["labels"] = dict(template_labels)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


def _generated(uid: str, name: str) -> dict[str, str]:
    return {LEGACY_JOB_NAME: name, JOB_NAME: name, LEGACY_CONTROLLER_UID: uid, CONTROLLER_UID: uid}


# -- rules -------------------------------------------------------------------------------------------------------


def _template_labels(job: Obj) -> dict[str, str]:
    found: dict[str, str] = (((job.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels") or {}
    return found


def _generated_selector(job: Obj, *, prefixed: bool) -> Errors:
    """``prefixed``: the labels of v1.27 have to be there too."""
    spec, metadata = job.get("spec") or {}, job.get("metadata") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    uid, name, has = metadata.get("uid", ""), metadata.get("name", ""), _template_labels(job)
    found = [] if uid else [errors.required("metadata.uid")]
    wanted = {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name}
    wanted |= {CONTROLLER_UID: uid, JOB_NAME: name} if prefixed else {}
    for key, value in wanted.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in has:
            found.append(errors.required(path, f"must be '{value}'"))
        elif has[key] != value:
            found.append(errors.invalid(path, templated.shown_map(has), f"must be '{value}'"))
    if not _matches(spec["selector"], wanted):
        found.append(
            errors.invalid("spec.selector", templated.shown_selector(spec["selector"]), "`selector` not auto-generated")
        )
    return found


def _matches(selector: Obj | None, labels_of: dict[str, str]) -> bool:
    """True also of a selector that is none: that is another rule's."""
    if selector is None:
        return False
    try:
        return labels.from_label_selector(selector).matches(labels_of)
    except labels.SelectorError:
        return True


def _spec(job: Obj, old: Obj | None) -> Errors:
    spec = job.get("spec") or {}
    found = job_rules.job_spec(spec, "spec", templated.template_of(old))
    selector = spec.get("selector")
    if selector is None:
        found.append(errors.required("spec.selector"))
    else:
        found += common.label_selector(selector, "spec.selector")
    if not _matches(selector, _template_labels(job)):
        shown = templated.shown_map(_template_labels(job))
        found.append(errors.invalid("spec.template.metadata.labels", shown, templated.MISMATCH))
    return found


def _hostname(job: Obj) -> Errors:
    """Pods of an Indexed Job are called after their index, and must have names that fit."""
    spec, name = job.get("spec") or {}, (job.get("metadata") or {}).get("name", "")
    completions = spec.get("completions") or 0
    if spec.get("completionMode") != "Indexed" or completions <= 0:
        return []
    longest = f"{name}-{completions - 1}"
    if not names.dns1123_label(longest):
        return []
    return [errors.invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {longest}")]


def _rules(job: Obj, old: Obj | None = None, *, prefixed: bool = True) -> Errors:
    return _generated_selector(job, prefixed=prefixed) + _spec(job, old) + _hostname(job)


def _validate_update(new: Obj, old: Obj) -> Errors:
    """The rules of the spec are told twice, as the reference does."""
    prefixed = {JOB_NAME, CONTROLLER_UID} <= _template_labels(old).keys()
    found = _rules(new, old, prefixed=prefixed)
    return found + (_spec(new, old) if found else []) + job_update.changes(new, old)


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if not pod_warnings.is_new_generation(new, old):
        return ()
    return template_warnings.named_for_pods(new, old) + job_rules.job_warnings(new.get("spec") or {}, "spec")


# -- columns -----------------------------------------------------------------------------------------------------


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
        printing.label_selector(spec.get("selector")),
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
        gated=gates.JOB,
        categories=("all",),
        status=True,
        generation=True,
        default_propagation="orphan",
        default=_default,
        validate=_rules,
        warnings=_warnings,
        validate_update=_validate_update,
        ratchets=True,
        validate_status=job_status.validate,
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
