"""Takes back what was said of pods that were to be disrupted and were not: whoever said so (an eviction, a preemption)
failed on the way, or changed its mind (upstream ``disruption``, stalePodDisruption)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.pods import status as podstatus
from sampan.api.reading import moment
from sampan.api.resources import PODS
from sampan.api.types import Condition, Obj
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import Informer
from sampan.client.keys import ObjectKey, key_of
from sampan.client.timeline import Timeline
from sampan.controllers.workload import conditions

TARGET: Final = "DisruptionTarget"
#: After so long without a deletion it is taken back.
TIMEOUT_SECONDS: Final = 120.0
#: What a node agent says of its own pods may take any time.
_OF_THE_NODE: Final = "TerminationByKubelet"


def seconds_left(pod: Obj, now: datetime) -> float | None:
    """Until the condition is stale; 0: it is. None: there is none that could be. Pure."""
    if podstatus.is_terminating(pod) or podstatus.is_terminal(pod):
        return None
    said = conditions.find((pod.get("status") or {}).get("conditions"), TARGET)
    if said is None or said["status"] != "True" or said.get("reason") == _OF_THE_NODE:
        return None
    since = moment(said, "lastTransitionTime") or now
    return max(0.0, TIMEOUT_SECONDS - (now - since).total_seconds())


class StaleDisruptions:
    def __init__(self, name: str, client: Client, pods: Informer, clock: Timeline) -> None:
        self._client, self._pods, self._clock = client, pods, clock
        self._controller: Controller[ObjectKey] = Controller(f"{name} pods", self.sync, workers=1)
        self._controller.watch(pods, self._keys)

    async def run(self) -> None:
        await self._controller.run()

    def _keys(self, pod: Obj) -> Iterable[ObjectKey]:
        return () if seconds_left(pod, self._clock.now()) is None else (key_of(pod),)

    async def sync(self, key: ObjectKey) -> Result:
        pod = self._pods.get(*key)
        left = seconds_left(pod, self._clock.now()) if pod is not None else None
        if pod is None or left is None:
            return DONE
        if left > 0:
            return Result(left)
        over: Condition = conditions.make(TARGET, "False", "", "", self._clock.now())
        del over["reason"], over["message"]
        new = objects.deep_copy(pod)
        new["status"]["conditions"] = objects.deep_copy(conditions.put(pod["status"].get("conditions"), over))
        try:
            await observe(self._pods, await self._client.update_status(PODS, new))
        except NotFound:
            pass
        return DONE
