"""RuntimeClass (node.k8s.io/v1)."""

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
    return common.missing(obj, "handler")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("handler"), old.get("handler"), "handler")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), obj.get("handler", ""), printing.age(obj, now))


KINDS = (
    Kind(
        group="node.k8s.io",
        version="v1",
        kind="RuntimeClass",
        plural="runtimeclasses",
        singular="runtimeclass",
        namespaced=False,
        schema="io.k8s.api.node.v1.RuntimeClass",
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("Handler"),
            printing.AGE,
        ),
        row=_row,
    ),
)
