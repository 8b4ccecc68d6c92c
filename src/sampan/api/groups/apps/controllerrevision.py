"""ControllerRevision (apps/v1): an immutable snapshot of a controller's state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(revision: Obj) -> Errors:
    found = [] if revision.get("data") is not None else [errors.required("data", "data is mandatory")]
    return found + common.non_negative(revision.get("revision", 0), "revision")


def _validate_update(new: Obj, old: Obj) -> Errors:
    if new.get("data") == old.get("data"):
        return []
    return [errors.invalid("data", new.get("data"), common.IMMUTABLE)]


def _controller(revision: Obj) -> str:
    for owner in revision.get("metadata", {}).get("ownerReferences") or ():
        if owner.get("controller"):
            group, slash, _ = owner.get("apiVersion", "").rpartition("/")
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner.get('name', '')}" if slash else f"{kind}/{owner.get('name', '')}"
    return printing.NONE


def _row(revision: Obj, now: datetime) -> Sequence[Any]:
    return (
        printing.name(revision),
        _controller(revision),
        revision.get("revision", 0),
        printing.age(revision, now),
    )


KINDS = (
    Kind(
        group="apps",
        version="v1",
        kind="ControllerRevision",
        plural="controllerrevisions",
        singular="controllerrevision",
        namespaced=True,
        schema="io.k8s.api.apps.v1.ControllerRevision",
        validate=_validate,
        validate_update=_validate_update,
        columns=(printing.NAME, Column("Controller"), Column("Revision"), printing.AGE),
        row=_row,
    ),
)
