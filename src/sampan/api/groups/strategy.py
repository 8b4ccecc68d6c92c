"""Create and update strategies that many kinds share (upstream: registry/*/strategy.go)."""

from __future__ import annotations

from sampan.api import schema
from sampan.api.kind import Prepare
from sampan.api.types import Obj


def drop_status(obj: Obj) -> None:
    """Before a create: status is the server's and the controllers' to set."""
    obj["status"] = {}


def zero_status(definition: str) -> Prepare:
    """As above, for a status (``io.k8s.api.apps.v1.ReplicaSetStatus``) of which the API always shows something: its
    counters at zero."""

    def prepare(obj: Obj) -> None:
        obj["status"] = schema.load().definition(definition).zero()

    return prepare
