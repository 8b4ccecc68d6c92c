"""EvictionRequest (lifecycle.k8s.io/v1alpha1): somebody asks for an Eviction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "target", "requester", "intent")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), printing.age(obj, now))


KINDS = (
    Kind(
        group="lifecycle.k8s.io",
        version="v1alpha1",
        kind="EvictionRequest",
        plural="evictionrequests",
        singular="evictionrequest",
        namespaced=True,
        schema="io.k8s.api.lifecycle.v1alpha1.EvictionRequest",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        validate=_validate,
        columns=(
            printing.NAME,
            printing.AGE,
        ),
        row=_row,
    ),
)
