"""The address of an object inside its resource, and reading it from an object."""

from __future__ import annotations

from typing import NamedTuple

from sampan.api.types import Obj


class ObjectKey(NamedTuple):
    """``namespace`` is "" for cluster-scoped objects."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Obj) -> ObjectKey:
    meta = obj["metadata"]
    return ObjectKey(meta.get("namespace", ""), meta["name"])


def revision_of(obj: Obj) -> int:
    """The object's resourceVersion as a number; 0 when it has none."""
    version = obj.get("metadata", {}).get("resourceVersion", "")
    return int(version) if version else 0


def own_key(obj: Obj) -> tuple[ObjectKey, ...]:
    """For ``Controller.watch``: an object is synced under its own key."""
    return (key_of(obj),)
