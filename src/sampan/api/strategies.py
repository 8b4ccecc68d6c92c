"""The strategies that all kinds share: of the main resource, of /status, and what a kind's own are made of.

A ``Strategy`` (``api/kind.py``) is pure. Sources: the generic and ``*StatusStrategy`` types of upstream's registry
packages. Called by the server; a kind's own strategies stand with the kind.
"""

from __future__ import annotations

from sampan.api import gates
from sampan.api.errors import FieldError
from sampan.api.kind import IDENTITY, Kind, Strategy
from sampan.api.objects import deep_copy
from sampan.api.types import Obj

METADATA = (*IDENTITY, "labels", "annotations", "finalizers")


def take(new: Obj, old: Obj, key: str) -> None:
    """``new[key]`` becomes what ``old`` has."""
    if key in old:
        new[key] = deep_copy(old[key])
    else:
        new.pop(key, None)


def only(new: Obj, old: Obj, *keys: str, metadata: tuple[str, ...] = METADATA) -> Obj:
    """``old`` with these fields, and these of metadata, from ``new``, which gives them away: they are not copied."""
    result: Obj = {key: deep_copy(value) for key, value in old.items() if key not in (*keys, "metadata")}
    result |= {key: new[key] for key in keys if key in new}
    given = new.get("metadata", {})
    result["metadata"] = {
        # managed fields are nobody's to change: ``copy_of``
        **{key: value if key == "managedFields" else deep_copy(value) for key, value in old["metadata"].items()
           if key not in metadata},
        **{key: given[key] for key in metadata if key in given},
    }  # fmt: skip
    return result


def nothing_to_check(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return []


def _merge_main(kind: Kind, new: Obj, old: Obj) -> Obj:
    if kind.status:
        take(new, old, "status")
    if kind.gated is not None:
        gates.drop(kind.gated, new, old)
    kind.prepare_update(new, old)
    return new


def _validate_main(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    if kind.custom or kind.ratchets:
        return kind.validate_update(new, old)
    return kind.validate(new) + kind.validate_update(new, old)


def _merge_status(kind: Kind, new: Obj, old: Obj) -> Obj:
    """Status, and of metadata what the kind lets through; all else stays."""
    return only(new, old, "status", metadata=kind.status_metadata)


def _validate_status(kind: Kind, new: Obj, old: Obj) -> list[FieldError]:
    return kind.validate_status(new, old)


MAIN = Strategy(_merge_main, _validate_main, may_create=True)
STATUS = Strategy(_merge_status, _validate_status, counts_generation=False)


def strategy_for(kind: Kind, subresource: str) -> Strategy | None:
    """None: updates do not go through this subresource."""
    if not subresource:
        return MAIN
    if subresource == "status":
        return STATUS if kind.status else None
    return kind.update_strategy(subresource)
