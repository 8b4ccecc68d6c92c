"""Deletes finished Jobs whose ``ttlSecondsAfterFinished`` has passed (upstream ``ttlafterfinished``).

``seconds_left`` decides and is pure. The time is a timer of the queue; before a Job goes it is looked at afresh.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.reading import moment, part, parts, whole
from sampan.api.resources import JOBS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context

NAME: Final = "ttl-after-finished-controller"


def seconds_left(job: Obj, now: datetime) -> float | None:
    """Until it goes, 0 or less: now. None: it does not go by itself, or has not finished."""
    ttl = whole(part(job, "spec"), "ttlSecondsAfterFinished")
    if ttl is None or objects.is_deleting(job):
        return None
    for condition in parts(part(job, "status"), "conditions"):
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            finished = moment(condition, "lastTransitionTime")
            return None if finished is None else ttl - (now - finished).total_seconds()
    return None


class TtlAfterFinishedController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._jobs = context.informers.informer(JOBS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._controller.watch(self._jobs, self._keys)

    async def run(self) -> None:
        await self._controller.run()

    def _keys(self, job: Obj) -> Iterable[ObjectKey]:
        return () if seconds_left(job, self._clock.now()) is None else (key_of(job),)

    async def sync(self, key: ObjectKey) -> Result:
        job = self._jobs.get(*key)
        left = seconds_left(job, self._clock.now()) if job is not None else None
        if left is None:
            return DONE
        if left > 0:
            return Result(left)
        try:
            fresh = await self._client.get(JOBS, key.name, key.namespace)
            left = seconds_left(fresh, self._clock.now())
            if left is None or left > 0:
                return Result(left)
            uid = fresh["metadata"]["uid"]
            await self._client.delete(JOBS, key.name, key.namespace, uid=uid, propagation="Foreground")
        except NotFound:
            pass
        return DONE
