"""CSIDriver (storage.k8s.io/v1)."""

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


def _default(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    spec.setdefault("podInfoOnMount", False)
    spec.setdefault("storageCapacity", False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    spec.setdefault("requiresRepublish", False)
    spec.setdefault("seLinuxMount", False)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _prepare_update(new: Obj, old: Obj) -> None:
    """Changes of the spec are counted from the first on; a new one has no generation."""
    if new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


_FS_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Persistent", "Ephemeral")
_SHORTEST_PERIOD_SECONDS = 10
_SHORTEST_TOKEN_SECONDS, _LONGEST_TOKEN_SECONDS = 600, 1 << 32


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found = common.in_list(spec.get("fsGroupPolicy"), _FS_GROUP_POLICIES, "spec.fsGroupPolicy")
    found += _token_requests(spec.get("tokenRequests") or ())
    for mode in spec.get("volumeLifecycleModes") or ():
        found += common.in_list(mode, _MODES, "spec.volumeLifecycleModes")
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _SHORTEST_PERIOD_SECONDS:
        text = "must be greater than or equal to 10 seconds"
        found.append(errors.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, text))
    return found


def _token_requests(requests: Sequence[Obj]) -> Errors:
    """One for each audience; of those that are told twice nothing more is said."""
    found: Errors = []
    seen: set[str] = set()
    for index, request in enumerate(requests):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience") or ""
        if audience in seen:
            found.append(errors.duplicate(f"{path}.audience", audience))
            continue
        seen.add(audience)
        seconds, where = request.get("expirationSeconds"), f"{path}.expirationSeconds"
        if seconds is not None and seconds < _SHORTEST_TOKEN_SECONDS:
            found.append(errors.invalid(where, seconds, "may not specify a duration less than 10 minutes"))
        if seconds is not None and seconds > _LONGEST_TOKEN_SECONDS:
            found.append(errors.invalid(where, seconds, "may not specify a duration larger than 2^32 seconds"))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    """``attachedRequired`` is upstream's name of the field in its refusals."""
    now, before = new.get("spec") or {}, old.get("spec") or {}
    found = common.immutable_value(now.get("attachRequired"), before.get("attachRequired"), "spec.attachedRequired")
    key = "volumeLifecycleModes"
    return found + common.immutable_value(now.get(key) or [], before.get(key) or [], f"spec.{key}")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    tokens = ",".join(token.get("audience", "") for token in spec.get("tokenRequests") or ())
    return (
        printing.name(obj),
        bool(spec.get("attachRequired", True)),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tokens if spec.get("tokenRequests") else printing.UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or printing.NONE,
        printing.age(obj, now),
    )


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="CSIDriver",
        plural="csidrivers",
        singular="csidriver",
        namespaced=False,
        schema="io.k8s.api.storage.v1.CSIDriver",
        returns_deleted=True,
        prepare_update=_prepare_update,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("AttachRequired", type="boolean"),
            Column("PodInfoOnMount", type="boolean"),
            Column("StorageCapacity", type="boolean"),
            Column("TokenRequests"),
            Column("RequiresRepublish", type="boolean"),
            Column("Modes"),
            printing.AGE,
        ),
        row=_row,
    ),
)
