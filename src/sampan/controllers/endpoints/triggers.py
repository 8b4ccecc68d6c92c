"""When what a Service's endpoints show changed last (upstream ``util/trigger_time_tracker.go``): the earliest of the
changes that have not been written yet, for those who measure how long an endpoint takes to be known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.reading import moment, part, parts
from sampan.api.types import Obj
from sampan.client.keys import ObjectKey
from sampan.controllers.workload.remembered import Remembered


class TriggerTimes:
    def __init__(self) -> None:
        #: of each Service: its own, and those of its pods by name
        self._seen: dict[ObjectKey, tuple[datetime | None, dict[str, datetime]]] = {}
        self._readers: dict[ObjectKey, Remembered[tuple[str, datetime | None]]] = {}

    def forget(self, key: ObjectKey) -> None:
        self._seen.pop(key, None)
        self._readers.pop(key, None)

    def changed(self, key: ObjectKey, service: Obj, pods: Iterable[Obj]) -> str:
        """Of what was not seen at the look before; "": nothing that has a time. To be asked at each look."""
        own_before, before = self._seen.get(key, (None, {}))
        now: dict[str, datetime] = {}
        new: list[datetime] = []
        read = self._readers.get(key)
        if read is None:
            read = self._readers[key] = Remembered(_ready_since)
        for name, since in read(pods):
            if since is None:
                continue
            now[name] = since
            if name not in before or since > before[name]:
                new.append(since)
        own = moment(service["metadata"], "creationTimestamp")
        if own is not None and (own_before is None or own > own_before):
            new.append(own)
        self._seen[key] = (own, now)
        return format_time(min(new)) if new else ""


def _ready_since(pod: Obj) -> tuple[str, datetime | None]:
    """The pod's name, and since when it is ready or not."""
    for condition in parts(part(pod, "status"), "conditions"):
        if condition.get("type") == "Ready":
            return pod["metadata"]["name"], moment(condition, "lastTransitionTime")
    return pod["metadata"]["name"], None
