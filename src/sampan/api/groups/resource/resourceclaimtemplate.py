"""ResourceClaimTemplate (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.resource.devices import default_claim_spec
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    default_claim_spec((obj.get("spec") or {}).get("spec"))


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), printing.age(obj, now))


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="ResourceClaimTemplate",
        plural="resourceclaimtemplates",
        singular="resourceclaimtemplate",
        namespaced=True,
        schema="io.k8s.api.resource.v1.ResourceClaimTemplate",
        default=_default,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            printing.AGE,
        ),
        row=_row,
    ),
)
