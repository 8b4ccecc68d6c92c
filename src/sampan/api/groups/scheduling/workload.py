"""Workload (scheduling.k8s.io/v1beta1): the groups of pods that a controller will make."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.groups.scheduling import group_rules
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _controller(reference: Obj, path: str) -> Errors:
    found: Errors = []
    if reference.get("apiGroup"):
        found += common.named(names.dns1123_subdomain, reference["apiGroup"], f"{path}.apiGroup")
    for key in ("kind", "name"):
        found += group_rules.name(reference.get(key), f"{path}.{key}", names.path_segment)
    return found


def _validate(workload: Obj) -> Errors:
    spec = workload.get("spec") or {}
    found: Errors = []
    if spec.get("controllerRef") is not None:
        found += _controller(spec["controllerRef"], "spec.controllerRef")
    composite = spec.get("compositePodGroupTemplates")
    templates, path = spec.get("podGroupTemplates"), "spec.podGroupTemplates"
    if not templates and not composite:
        return [*found, errors.required(path)]
    found += group_rules.listed(templates, path, group_rules.MOST_TEMPLATES, group_rules.template)
    path = "spec.compositePodGroupTemplates"
    return found + group_rules.listed(composite, path, group_rules.MOST_TEMPLATES, group_rules.composite_template)


def _validate_update(new: Obj, old: Obj) -> Errors:
    found: Errors = []
    if (old.get("spec") or {}).get("controllerRef") is not None:
        found += group_rules.unchanged(new, old, "controllerRef")
    return found + group_rules.unchanged(new, old, "podGroupTemplates", "compositePodGroupTemplates")


KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1beta1",
        kind="Workload",
        plural="workloads",
        singular="workload",
        namespaced=True,
        schema="io.k8s.api.scheduling.v1beta1.Workload",
        validate=_validate,
        validate_update=_validate_update,
    ),
)
