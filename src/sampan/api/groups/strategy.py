"""Create and update strategies that many kinds share (upstream: registry/*/strategy.go)."""

from __future__ import annotations

from sampan.api.types import Obj


def drop_status(obj: Obj) -> None:
    """Before a create: status is the server's and the controllers' to set."""
    obj["status"] = {}
