"""Create and update strategies that many kinds share (upstream: registry/*/strategy.go)."""

from __future__ import annotations

from sampan.api.kind import Prepare
from sampan.api.types import Obj


def drop_status(obj: Obj) -> None:
    """Before a create: status is the server's and the controllers' to set."""
    obj["status"] = {}


def zero_status(*counters: str) -> Prepare:
    """As above, with the counters that the API always shows, at zero."""

    def prepare(obj: Obj) -> None:
        obj["status"] = dict.fromkeys(counters, 0)

    return prepare


def fill_counters(obj: Obj, *counters: str) -> None:
    """The same for what a status write leaves out: counters are numbers in every answer."""
    status = obj.get("status")
    if isinstance(status, dict):
        for counter in counters:
            status.setdefault(counter, 0)
