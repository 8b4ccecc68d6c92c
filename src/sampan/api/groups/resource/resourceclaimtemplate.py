"""ResourceClaimTemplate (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, gates, metadata
from sampan.api.groups import printing
from sampan.api.groups.resource import selecting, shown
from sampan.api.groups.resource.devices import default_claim_spec
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    default_claim_spec((obj.get("spec") or {}).get("spec"))


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    given = spec.get("metadata") or {}
    found = metadata.validate_labels(given.get("labels"), "spec.metadata.labels")
    found += metadata.validate_annotations(given.get("annotations"), "spec.metadata.annotations")
    return found + selecting.validate_claim(spec.get("spec") or {}, "spec.spec")


def _validate_update(new: Obj, old: Obj) -> Errors:
    """What cannot change is not judged again."""
    now, before = new.get("spec") or {}, old.get("spec") or {}
    return [] if now == before else [errors.invalid("spec", shown.template_spec(now), common.IMMUTABLE)]


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
        gated=gates.CLAIM_TEMPLATE,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        demanding=True,
        columns=(
            printing.NAME,
            printing.AGE,
        ),
        row=_row,
    ),
)
