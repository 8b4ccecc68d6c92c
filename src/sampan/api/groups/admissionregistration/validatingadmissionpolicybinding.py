"""ValidatingAdmissionPolicyBinding (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.admissionregistration import policies
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    reference = spec.get("paramRef") or {}
    namespace, name = reference.get("namespace", ""), reference.get("name", "")
    shown = (f"{namespace}/{name}" if namespace else name) if reference else printing.UNSET
    return (printing.name(obj), spec.get("policyName", ""), shown, printing.age(obj, now))


KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="ValidatingAdmissionPolicyBinding",
        plural="validatingadmissionpolicybindings",
        singular="validatingadmissionpolicybinding",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        categories=("api-extensions",),
        generation=True,
        unconditional_update=False,
        default=policies.default_binding,
        validate=policies.validate_validating_binding,
        columns=(
            printing.NAME,
            Column("PolicyName"),
            Column("ParamRef"),
            printing.AGE,
        ),
        row=_row,
    ),
)
