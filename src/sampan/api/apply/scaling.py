"""Managed fields of a Scale and of the object that it scales: one field, at two paths.

Source: apimachinery ``managedfields/scalehandler.go``. What an update through another version owns stays that entry's
own here; upstream writes it as a second one of the same identity, which the next write forgets.
"""

from __future__ import annotations

from typing import Final

from sampan.api.apply import sets
from sampan.api.apply.managers import Identity, Managed, Owned, with_fields
from sampan.api.apply.sets import Fields

SCALE_VERSION: Final = "autoscaling/v1"
_REPLICAS: Final[tuple[str, ...]] = ("f:spec", "f:replicas")


def path_of(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"f:{key}" for key in keys)


def of_scale(parent: Managed, path: tuple[str, ...]) -> Managed:
    """The owners of the replicas, as managed fields of the Scale."""
    fields = sets.at(_REPLICAS)
    return {
        _in_scale(who): Owned(fields, SCALE_VERSION, owned.time, with_fields(owned, fields).entry)
        for who, owned in parent.items()
        if sets.contains(owned.fields, path)
    }


def _in_scale(who: Identity) -> Identity:
    return who._replace(api_version=SCALE_VERSION) if who.api_version else who


def of_parent(parent: Managed, scale: Managed, path: tuple[str, ...], api_version: str) -> Managed:
    """The object's managed fields when those of its Scale have become these. ``api_version``: the object's."""
    replicas: Fields = sets.at(path)
    after: Managed = {}
    rest = {who: owned for who, owned in scale.items() if sets.contains(owned.fields, _REPLICAS)}
    for who, owned in parent.items():
        if sets.contains(owned.fields, path) and rest.pop(_in_scale(who), None) is None:
            left = sets.difference(owned.fields, replicas)
            if not left:
                continue
            owned = with_fields(owned, left)
        after[who] = owned
    for who, owned in rest.items():
        ours = who._replace(api_version=api_version) if who.api_version else who
        before = parent.get(ours)
        after[ours] = Owned(
            sets.union(after[ours].fields, replicas) if ours in after else replicas,
            api_version,
            before.time if before is not None else "",
            with_fields(owned, replicas).entry,
        )
    return after
