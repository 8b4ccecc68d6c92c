"""When what a Service's endpoints show changed last (upstream ``util/trigger_time_tracker.go``): the earliest of the
changes that have not been written yet, for those who measure how long an endpoint takes to be known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sampan.api.clock import format_time
from sampan.api.reading import moment, part, parts
from sampan.api.types import Obj
from sampan.client.keys import ObjectKey


class TriggerTimes:
    def __init__(self) -> None:
        #: of each Service: its own, and those of its pods by name
        self._seen: dict[ObjectKey, tuple[datetime | None, dict[str, datetime]]] = {}

    def forget(self, key: ObjectKey) -> None:
        self._seen.pop(key, None)

    def changed(self, key: ObjectKey, service: Obj, pods: Iterable[Obj]) -> str:
        """Of what was not seen at the look before; "": nothing that has a time. To be asked at each look."""
        own_before, before = self._seen.get(key, (None, {}))
        now: dict[str, datetime] = {}
        new: list[datetime] = []
        for pod in pods:
            since = _ready_since(pod)
            if since is None:
                continue
            name = pod["metadata"]["name"]
            now[name] = since
            if name not in before or since > before[name]:
                new.append(since)
        own = moment(service["metadata"], "creationTimestamp")
        if own is not None and (own_before is None or own > own_before):
            new.append(own)
        self._seen[key] = (own, now)
        return format_time(min(new)) if new else ""


def _ready_since(pod: Obj) -> datetime | None:
    for condition in parts(part(pod, "status"), "conditions"):
        if condition.get("type") == "Ready":
            return moment(condition, "lastTransitionTime")
    return None
