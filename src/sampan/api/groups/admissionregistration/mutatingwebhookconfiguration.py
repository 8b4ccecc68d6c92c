"""MutatingWebhookConfiguration (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.errors import FieldError
from sampan.api.groups import printing
from sampan.api.groups.admissionregistration import webhooks
from sampan.api.kind import Kind
from sampan.api.types import Obj


def _default(obj: Obj) -> None:
    webhooks.default_webhooks(obj, reinvocation=True)


def _validate(obj: Obj) -> list[FieldError]:
    return webhooks.validate_webhooks(obj, reinvocation=True)


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), len(obj.get("webhooks") or ()), printing.age(obj, now))


KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="MutatingWebhookConfiguration",
        plural="mutatingwebhookconfigurations",
        singular="mutatingwebhookconfiguration",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        categories=("api-extensions",),
        generation=True,
        unconditional_update=False,
        demanding=True,
        default=_default,
        columns=(
            printing.NAME,
            printing.number("Webhooks"),
            printing.AGE,
        ),
        row=_row,
        validate=_validate,
    ),
)
