"""ResourceClaim (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, gates
from sampan.api.groups import printing
from sampan.api.groups.resource import allocation, selecting, shown
from sampan.api.groups.resource.devices import default_claim_spec
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    default_claim_spec(obj.get("spec"))


def _validate(obj: Obj) -> Errors:
    return selecting.validate_claim(obj.get("spec") or {}, "spec")


def _validate_update(new: Obj, old: Obj) -> Errors:
    """What cannot change is not judged again."""
    now = new.get("spec") or {}
    return [] if now == (old.get("spec") or {}) else [errors.invalid("spec", shown.claim_spec(now), common.IMMUTABLE)]


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    status = obj.get("status") or {}
    states = ["deleted"] if obj.get("metadata", {}).get("deletionTimestamp") else []
    if status.get("allocation") is not None:
        states += ["allocated", "reserved"] if status.get("reservedFor") else ["allocated"]
    elif not states:
        states.append("pending")
    return (printing.name(obj), ",".join(states), printing.age(obj, now))


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="ResourceClaim",
        plural="resourceclaims",
        singular="resourceclaim",
        namespaced=True,
        schema="io.k8s.api.resource.v1.ResourceClaim",
        gated=gates.CLAIM,
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=allocation.validate_status,
        ratchets=True,
        demanding=True,
        columns=(
            printing.NAME,
            Column("State"),
            printing.AGE,
        ),
        row=_row,
    ),
)
