"""PodGroup (scheduling.k8s.io/v1beta1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.groups.scheduling import group_rules
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_FIXED: Final = (
    "workloadRef", "parentCompositePodGroupName", "schedulingConstraints", "resourceClaims",
    "disruptionMode", "priorityClassName", "priority", "preemptionPolicy",
)  # fmt: skip


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found = group_rules.workload_reference(spec.get("workloadRef"), "spec.workloadRef")
    if spec.get("parentCompositePodGroupName"):
        path = "spec.parentCompositePodGroupName"
        found += common.named(names.dns1123_subdomain, spec["parentCompositePodGroupName"], path)
    return found + group_rules.shared(spec, "spec")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return group_rules.policy_unchanged(new, old) + group_rules.unchanged(new, old, *_FIXED)


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), printing.age(obj, now))


KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1beta1",
        kind="PodGroup",
        plural="podgroups",
        singular="podgroup",
        namespaced=True,
        schema="io.k8s.api.scheduling.v1beta1.PodGroup",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            printing.AGE,
        ),
        row=_row,
    ),
)
