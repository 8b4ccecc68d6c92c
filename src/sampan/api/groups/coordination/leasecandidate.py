"""LeaseCandidate (coordination.k8s.io/v1beta1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "leaseName", "binaryVersion", "strategy")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    keys = ("leaseName", "binaryVersion", "emulationVersion")
    return (printing.name(obj), *(spec.get(key, "") for key in keys), printing.age(obj, now))


KINDS = (
    Kind(
        group="coordination.k8s.io",
        version="v1beta1",
        kind="LeaseCandidate",
        plural="leasecandidates",
        singular="leasecandidate",
        namespaced=True,
        schema="io.k8s.api.coordination.v1beta1.LeaseCandidate",
        unconditional_update=False,
        create_on_update=True,
        validate=_validate,
        columns=(
            printing.NAME,
            Column("LeaseName"),
            Column("BinaryVersion"),
            Column("EmulationVersion"),
            printing.AGE,
        ),
        row=_row,
    ),
)
