"""What of a Job may change: its size, and while it is suspended where its pods may go and what they ask for."""

from __future__ import annotations

from typing import Final

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.batch import job_rules
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
from sampan.api.validation.common import Errors

_SCHEDULING: Final = ("nodeSelector", "tolerations", "schedulingGates")
_CONTAINERS: Final = ("containers", "initContainers")


def changes(new: Obj, old: Obj) -> Errors:
    """Of an update, beside the rules for every Job."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found = _completions(spec, before)
    found += common.immutable(spec.get("selector"), before.get("selector"), "spec.selector")
    found += _template(new, old)
    found += common.immutable(spec.get("completionMode"), before.get("completionMode"), "spec.completionMode")
    found += _policy(spec, before, "podFailurePolicy", job_rules.FAILURE_POLICY)
    for key in ("backoffLimitPerIndex", "managedBy"):
        found += common.immutable(spec.get(key), before.get(key), f"spec.{key}")
    return found + _policy(spec, before, "successPolicy", job_rules.SUCCESS_POLICY)


def _policy(spec: Obj, before: Obj, key: str, layout: go_values.Layout) -> Errors:
    value = spec.get(key)
    if value == before.get(key):
        return []
    shown = go_values.struct(value, layout)
    return [errors.invalid(f"spec.{key}", shown, common.IMMUTABLE)]


def _completions(spec: Obj, before: Obj) -> Errors:
    value, path = spec.get("completions"), "spec.completions"
    if spec.get("completionMode") != "Indexed":
        return common.immutable(value, before.get("completions"), path)
    if value is None or value in (before.get("completions"), spec.get("parallelism")):
        return []
    return [errors.invalid(path, value, "can only be modified in tandem with spec.parallelism")]


def _template(new: Obj, old: Obj) -> Errors:
    template, before = ((job.get("spec") or {}).get("template") or {} for job in (new, old))
    if template == before:
        return []
    status = old.get("status") or {}
    suspended = bool((old.get("spec") or {}).get("suspend"))
    at_rest = printing.has_condition(old, "Suspended") and not status.get("active")
    if suspended and (not status.get("startTime") or at_rest):
        before = _with_directions_of(template, before)
    if suspended and at_rest:
        spec, kept = (
            template.get("spec") or {},
            _with_resources_of(template.get("spec") or {}, before.get("spec") or {}),
        )
        return [] if spec == kept else [errors.invalid("spec.template.spec", spec, common.IMMUTABLE)]
    return [] if template == before else [errors.invalid("spec.template", template, common.IMMUTABLE)]


def _with(obj: Obj, **values: object) -> Obj:
    """A copy with these fields; None takes one away."""
    return {key: value for key, value in {**obj, **values}.items() if value is not None}


def _with_directions_of(new: Obj, old: Obj) -> Obj:
    """The old template with what tells the scheduler where pods may go as the new one has it."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    metadata, labelled = new.get("metadata") or {}, old.get("metadata") or {}
    affinity, held = spec.get("affinity"), before.get("affinity")
    if affinity is not None or held is not None:
        held = _with(held or {}, nodeAffinity=(affinity or {}).get("nodeAffinity"))
        held = held if held or affinity is not None else None
    kept = _with(before, affinity=held, **{key: spec.get(key) for key in _SCHEDULING})
    named = _with(labelled, labels=metadata.get("labels"), annotations=metadata.get("annotations"))
    return {**old, "spec": kept, "metadata": named}


def _with_resources_of(new: Obj, old: Obj) -> Obj:
    """The old pod spec with the resources of containers of the same name in the same place."""
    kept = dict(old)
    for key in _CONTAINERS:
        wanted, had = new.get(key) or [], old.get(key) or []
        if len(wanted) == len(had):
            kept |= {key: [_resources(a, b) for a, b in zip(wanted, had, strict=True)]} if had else {}
    return kept


def _resources(wanted: Obj, had: Obj) -> Obj:
    if wanted.get("name") != had.get("name"):
        return had
    return _with(had, resources=wanted.get("resources"))
