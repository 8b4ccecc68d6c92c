"""One look at an autoscaler: what it was made of, what was found, and the status that comes of it. Pure."""

from __future__ import annotations

from sampan.api import objects
from sampan.api.reading import part, whole
from sampan.api.types import Obj
from sampan.client.keys import ObjectKey
from sampan.controllers.horizontalpodautoscaling.behavior import History
from sampan.controllers.horizontalpodautoscaling.conditions import Conditions
from sampan.records import dataclass


@dataclass(slots=True)
class Look:
    """One look at an autoscaler, and what comes of it. ``replicas`` None: nothing is done."""

    autoscaler: Obj
    key: ObjectKey
    conditions: Conditions
    history: History
    current: int | None = None
    replicas: int | None = None
    reason: str = ""
    metrics: list[Obj] | None = None
    scaled: bool = False
    #: of metrics: "", ``internal``, or ``spec`` for what only a change of the spec can mend
    failed: str = ""

    @property
    def spec(self) -> Obj:
        return part(self.autoscaler, "spec")

    @property
    def least(self) -> int:
        given = whole(self.spec, "minReplicas")
        return 1 if given is None else given

    @property
    def behavior(self) -> Obj | None:
        found = self.spec.get("behavior")
        return found if isinstance(found, dict) else None

    def status(self, now: str) -> Obj:
        before = part(self.autoscaler, "status")
        status: Obj = {"conditions": self.conditions.listed(), "currentMetrics": before.get("currentMetrics")}
        kept = ("currentReplicas", "desiredReplicas", "lastScaleTime", "observedGeneration")
        status |= {key: before[key] for key in kept if before.get(key) is not None}
        status.setdefault("desiredReplicas", 0)
        if generation := objects.generation(self.autoscaler):
            status["observedGeneration"] = generation
        if self.current is not None:
            status["currentReplicas"], status["currentMetrics"] = self.current, self.metrics
        if self.replicas is not None:
            status["desiredReplicas"] = self.replicas
        if self.scaled:
            status["lastScaleTime"] = now
        return status
