"""MutatingAdmissionPolicy (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.admissionregistration.webhooks import default_match_resources
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    default_match_resources(spec.get("matchConstraints"))


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "matchConstraints")


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
        default=_default,
        validate=_validate,
        columns=(
            printing.NAME,
            printing.number("Mutations"),
            Column("ParamKind"),
            printing.AGE,
        ),
        row=_row,
    ),
)
