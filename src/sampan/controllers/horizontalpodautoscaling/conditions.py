"""The conditions of an autoscaler's status, and how its parts are written. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from sampan.api import quantity
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj

#: upstream's ``ScalingActive`` when a metric gives nothing
UNABLE = "the HPA was unable to compute the replica count: "


class Conditions:
    """Those that were there, with what is set now; a time changes with the status that it belongs to."""

    def __init__(self, status: Obj, generation: int, now: str) -> None:
        self._listed = [dict(each) for each in parts(status, "conditions")]
        self._generation, self._now = generation, now

    def set(self, kind: str, is_true: bool, reason: str, message: str) -> None:
        status = "True" if is_true else "False"
        found = next((each for each in self._listed if each.get("type") == kind), None)
        if found is None:
            found = {"type": kind, "status": ""}
            self._listed.append(found)
        if found.get("status") != status:
            found["lastTransitionTime"] = self._now
        found.update(status=status, reason=reason, message=message)
        if self._generation:
            found["observedGeneration"] = self._generation

    def is_true(self, kind: str) -> bool:
        return any(each.get("type") == kind and each.get("status") == "True" for each in self._listed)

    def listed(self) -> list[Obj]:
        return [dict(each) for each in self._listed]


def amount(millis: int) -> str:
    """A quantity of so many thousandths."""
    return quantity.format_quantity(Fraction(millis, 1000))


def has_outer_metric(metrics: Iterable[Obj]) -> bool:
    """Whether something is measured that does not need a pod: only that may scale to zero, and from it."""
    return any(text(metric, "type") in ("Object", "External") for metric in metrics)


def same_status(before: Obj, after: Obj) -> bool:
    """Whether nothing needs to be written."""
    return {key: before.get(key) for key in after} == after and not (before.keys() - after.keys())


def identifier(source: Obj) -> Obj:
    """Of a status: which metric was measured."""
    metric = part(source, "metric")
    return {key: metric[key] for key in ("name", "selector") if metric.get(key) is not None}
