"""Lease (coordination.k8s.io/v1): leader election, node heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, gates
from sampan.api.groups import printing
from sampan.api.groups.coordination import strategies
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(lease: Obj) -> Errors:
    spec = lease.get("spec") or {}
    found = common.positive(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
    found += common.non_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")
    if spec.get("strategy") is not None:
        found += strategies.validate(spec["strategy"], "spec.strategy")
    if spec.get("preferredHolder") and not spec.get("strategy"):
        text = "may only be specified if `strategy` is defined"
        found.append(errors.forbidden("spec.preferredHolder", text))
    return found


def _row(lease: Obj, now: datetime) -> Sequence[Any]:
    holder = (lease.get("spec") or {}).get("holderIdentity", "")
    return (printing.name(lease), holder, printing.age(lease, now))


KINDS = (
    Kind(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        singular="lease",
        namespaced=True,
        schema="io.k8s.api.coordination.v1.Lease",
        unconditional_update=False,
        create_on_update=True,
        validate=_validate,
        gated=gates.LEASE,
        columns=(printing.NAME, Column("Holder"), printing.AGE),
        row=_row,
    ),
)
