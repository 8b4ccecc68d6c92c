"""MutatingAdmissionPolicy (admissionregistration.k8s.io/v1)."""

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
    kind = spec.get("paramKind") or {}
    shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else printing.UNSET
    return (printing.name(obj), len(spec.get("mutations") or ()), shown, printing.age(obj, now))


KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="MutatingAdmissionPolicy",
        plural="mutatingadmissionpolicies",
        singular="mutatingadmissionpolicy",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
        categories=("api-extensions",),
        generation=True,
        unconditional_update=False,
        default=policies.default_policy,
        validate=policies.validate_mutating,
        demanding=True,
        columns=(
            printing.NAME,
            printing.number("Mutations"),
            Column("ParamKind"),
            printing.AGE,
        ),
        row=_row,
    ),
)
