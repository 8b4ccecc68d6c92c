"""ValidatingWebhookConfiguration (admissionregistration.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.admissionregistration import webhooks
from sampan.api.kind import Kind
from sampan.api.types import Obj


def _default(obj: Obj) -> None:
    webhooks.default_webhooks(obj)


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), len(obj.get("webhooks") or ()), printing.age(obj, now))


KINDS = (
    Kind(
        group="admissionregistration.k8s.io",
        version="v1",
        kind="ValidatingWebhookConfiguration",
        plural="validatingwebhookconfigurations",
        singular="validatingwebhookconfiguration",
        namespaced=False,
        schema="io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
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
        validate=webhooks.validate_webhooks,
    ),
)
