"""When a PersistentVolume came to its phase: what its status strategy sets, which needs a clock (registry/core/
persistentvolume, PrepareForUpdate of status)."""

from __future__ import annotations

from sampan.api.clock import Clock, format_time
from sampan.api.types import Obj
from sampan.server.hooks import Hook, Reservation

_SINCE = "lastPhaseTransitionTime"


class PhaseTimes(Hook):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def before_update(self, new: Obj, old: Obj, *, dry_run: bool) -> Reservation:
        status, before = new.get("status"), old.get("status") or {}
        if status is None or status == before:
            return None
        since = status.get(_SINCE)
        if status.get("phase") == before.get("phase"):
            if since is None and before.get(_SINCE) is not None:
                status[_SINCE] = before[_SINCE]
        elif since in (None, before.get(_SINCE)):
            status[_SINCE] = format_time(self._clock.now())
        return None
